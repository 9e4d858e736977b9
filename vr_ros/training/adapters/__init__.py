"""Reward entry points for other trainers, and converters of rows to their columns."""
