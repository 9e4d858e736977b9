"""A simulated table top with a robot camera, its ground truth and its instructions (MuJoCo, no
rclpy)."""
