"""``./run train grpo``: GRPO with TRL's trainer and the rewards of this project."""
