"""Samples, rewards and curricula: numpy and scipy only."""
