"""The simulated robot camera."""
