"""The domain: values and pure functions on numpy arrays. No torch, no rclpy, no generated
messages."""
