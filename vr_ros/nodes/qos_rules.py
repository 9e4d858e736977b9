"""Which publishers and subscriptions connect: DDS's request-versus-offer rules, in words.

Source: OMG DDS 1.4, section 2.2.3; ROS 2, "About Quality of Service settings".
"""
from __future__ import annotations

from dataclasses import dataclass

from rclpy.duration import Infinite
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy


@dataclass(frozen=True)
class Conflict:
    """A policy by which a publisher and a subscription do not connect.

    :param offered: the publisher's value, as a qos_overrides parameter takes it; or in seconds.
    :param requested: the subscription's.
    """

    policy: str
    offered: str
    requested: str


def conflicts(offered: QoSProfile, requested: QoSProfile) -> list[Conflict]:
    """List why a subscription gets nothing from a publisher; empty: they connect.

    Whatever is still unknown, as a remote endpoint's policy can be, conflicts with nothing.

    :param offered: the publisher's profile.
    :param requested: the subscription's.
    """
    found = []
    for policy, weak, strong in (
            ('reliability', ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE),
            ('durability', DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL),
            ('liveliness', LivelinessPolicy.AUTOMATIC, LivelinessPolicy.MANUAL_BY_TOPIC)):
        values = getattr(offered, policy), getattr(requested, policy)
        if values == (weak, strong):
            found.append(Conflict(policy, weak.name.lower(), strong.name.lower()))
    for policy in ('deadline', 'liveliness_lease_duration'):
        promised_s, wanted_s = _seconds(offered, policy), _seconds(requested, policy)
        if promised_s > wanted_s:
            found.append(Conflict(policy, f'{promised_s:g} s', f'{wanted_s:g} s'))
    return found


def _seconds(profile: QoSProfile, policy: str) -> float:
    duration = getattr(profile, policy)
    # 0 means that nothing was set; it is what rclpy's own profiles have.
    if duration.nanoseconds == 0 or duration.nanoseconds >= Infinite.nanoseconds:
        return float('inf')
    return float(duration.nanoseconds / 1e9)
