"""Serving the page, with the changes to Gradio that it needs."""
