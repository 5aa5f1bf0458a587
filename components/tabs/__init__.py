"""A folder per stage, each with its ``build_<stage>_tab``; beside them what all tabs share."""
