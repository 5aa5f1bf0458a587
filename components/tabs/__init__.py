"""One module per tab, each with one ``build_<stage>_tab``."""
