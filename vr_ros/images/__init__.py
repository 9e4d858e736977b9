"""Pixels and depths out of the bytes of ROS messages."""
