"""Tell a robot in plain words what to look for: reasoning perception for ROS 2."""

from pkgutil import extend_path

# A source tree on sys.path must not hide the interfaces that colcon generated into the same
# package.
__path__ = extend_path(__path__, __name__)
