"""Training as the UI side sees it: configuration, presets, checks before the start, runs and their events."""
