"""Adapters to trainers: the one part of training that imports torch."""
