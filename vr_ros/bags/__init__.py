"""Bags as they were recorded, read without ROS."""
