"""What the side of the user sees of a training run: its configuration, events and folder. No torch here."""
