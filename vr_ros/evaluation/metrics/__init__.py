"""Metrics in two steps: what one sample contributes, and figures as functions of the whole.

A figure is a :class:`~vr_ros.evaluation.metrics.measure.Measure`, which gives its value for any
weights of the samples. Intervals and tests weigh the samples anew; nothing is matched again.
"""
