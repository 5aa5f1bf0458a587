"""The page: tabs, charts, tables and their wiring. Nothing here imports torch."""

from components.serving.quick_import import skip_type_stubs

skip_type_stubs()  # before any module of the page imports gradio
