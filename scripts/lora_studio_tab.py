"""The WebUI's door to Lora Studio: registers callbacks, nothing more.

The WebUI runs this file anew at each "Reload UI", having forgotten the callbacks it had; our package stays imported, and with it the jobs that run.
"""

from modules import script_callbacks

from lora_studio.ui import webui

script_callbacks.on_ui_settings(webui.add_settings)
script_callbacks.on_ui_tabs(webui.tabs)
script_callbacks.on_app_started(webui.app_started)
