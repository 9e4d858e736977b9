"""Metrics, data sets and reports."""
