"""Scenes, corpus, training and evaluation of the checkpoint that ships with the playground."""
