"""*Show the code*: scripts that reproduce each tab."""
