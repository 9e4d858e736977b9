"""Sources of training data: a module each, with BUILDERS; see vr_ros/training/data/__init__.py."""
