"""The child process that trains: `python -m lora_studio.trainer RUN_DIR` reads RUN_DIR/config.json."""
