"""Interactions, item content, and the files that they come from."""
