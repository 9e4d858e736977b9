"""Rewards for reinforcement learning: samples, verifiers, metrics, stages; numpy and scipy only."""
