"""Record → HTML: images, token strips and tables."""
