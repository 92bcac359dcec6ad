"""Notebooks executed, made into pages, and what they display."""
