"""Mixtures of many sources, by recipes that are data."""
