"""How much memory the worker uses."""
from __future__ import annotations

import os
import sys

from vr_ros.pipeline.protocol import Heartbeat


def heartbeat(busy_request_id: int | None, *, loaded: bool) -> Heartbeat:
    """Measure this process.

    :param loaded: whether the back-end is complete; before that torch is not asked, because it may
        be half imported.
    """
    reserved, total = _gpu_bytes() if loaded else (0, 0)
    return Heartbeat(_rss_bytes(), reserved, total, busy_request_id)


def _rss_bytes() -> int:
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def _gpu_bytes() -> tuple[int, int]:
    torch = sys.modules.get('torch')
    if torch is None or not torch.cuda.is_initialized():
        return 0, 0
    # Counters of torch's own allocator: asking the driver can block behind a kernel that hangs.
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return int(torch.cuda.memory_reserved()), int(properties.total_memory)
