"""Specifications, profiles, grids, runs and their records."""
