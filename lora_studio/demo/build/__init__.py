"""Makes what lies in ``demo/assets``: pictures, tagger, VAE, text encoder, UNet, one LDM file.

``python -m lora_studio.demo.build all`` runs the steps one after another in a
work folder; each reads what the earlier ones left there, so any can be repeated.
"""
