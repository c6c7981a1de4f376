"""The page: a gradio shell that holds one element, in which javascript/ builds the six steps."""
