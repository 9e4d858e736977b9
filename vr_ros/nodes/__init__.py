"""ROS 2 nodes and executables (rclpy). convert.py alone imports the generated interfaces."""
