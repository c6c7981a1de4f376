"""Where Lora Studio runs: inside a WebUI, or on a page of its own."""
