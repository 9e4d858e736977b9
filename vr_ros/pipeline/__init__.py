"""From image and instruction to a perception: Perceiver, the worker program, the shared frame
ring."""
