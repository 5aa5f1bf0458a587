"""How the page is served, and what of Gradio is done otherwise for it."""
