"""Pure charts: arrays and labels in, ``plotly.graph_objects.Figure`` out. Never imports gradio."""
