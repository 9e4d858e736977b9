"""Reasoners, segmenters, pre-processing, model cards and weights (torch)."""
