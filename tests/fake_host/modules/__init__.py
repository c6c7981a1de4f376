"""What Lora Studio calls of the WebUI, without the WebUI."""
