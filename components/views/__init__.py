"""Record → HTML: pictures, strips of tokens, tables."""
