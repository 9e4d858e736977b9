"""Data sets of images, instructions and what is true, in the formats that people have them in.

A new format is a class with what :class:`~vr_ros.datasets.sample.DataSet` asks for, and
a line in registry.py.
"""
