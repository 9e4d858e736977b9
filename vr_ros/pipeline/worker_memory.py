"""The worker's memory: how much it uses, and giving back what it does not need."""
from __future__ import annotations

import gc
import os
import sys

from vr_ros.pipeline.heap import trim_heap
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


def release_memory() -> None:
    """Give cached device memory back after an out-of-memory error.

    Call it when the exception is gone: its traceback holds on to the tensors.
    """
    gc.collect()
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_for_good() -> None:
    """Exempt what is loaded from garbage collection: it stays as long as the process does.

    Collecting everything then takes a fraction of a millisecond, where walking over hundreds of
    thousands of a library's objects holds up the answer under way.
    """
    gc.collect()
    gc.freeze()


def give_back() -> bool:
    """Give what an answer left behind back to the system: one or two milliseconds.

    Every answer leaves some cycles that hold tensors, and its tensors have lengths of their own:
    what the allocator keeps of them does not fit the next ones, and grows for days.

    :return: whether there was any.
    """
    gc.collect()
    return trim_heap()
