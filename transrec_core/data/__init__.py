"""Interactions, item content, and the worlds they come from."""
