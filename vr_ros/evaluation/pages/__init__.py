"""Runs and demos as pages to look at."""
