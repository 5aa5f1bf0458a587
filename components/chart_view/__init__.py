"""The chart component: a Plotly figure with its table, in Python and in the browser."""
