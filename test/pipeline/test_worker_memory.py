"""Memory that the worker has freed is free for others."""
from __future__ import annotations

import subprocess
import sys

from vr_ros.pipeline.worker_memory import heartbeat

# Blocks too small to be mapped one by one, the last of which keeps the heap from shrinking.
FRAGMENTED = """
import ctypes
from vr_ros.pipeline.worker_memory import give_back, heartbeat
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
blocks = [libc.malloc(65_536) for _ in range(3_200)]
for block in blocks:
    libc.memset(block, 1, 65_536)
used = heartbeat(None, loaded=False).rss_bytes
for block in blocks[:-1]:
    libc.free(block)
freed = heartbeat(None, loaded=False).rss_bytes
trimmed = give_back()
print(used, freed, heartbeat(None, loaded=False).rss_bytes, int(trimmed))
"""


def test_what_was_freed_goes_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, '-c', FRAGMENTED], capture_output=True, text=True, check=True, timeout=60)
    used, freed, left, trimmed = map(int, done.stdout.split())
    assert freed > used - 20e6  # or the test shows nothing
    assert left < used - 180e6
    assert trimmed


def test_the_heartbeat_knows_this_process() -> None:
    beat = heartbeat(7, loaded=False)
    with open('/proc/self/status', encoding='ascii') as file:
        resident = next(int(line.split()[1]) * 1024 for line in file if line.startswith('VmRSS'))
    assert abs(beat.rss_bytes - resident) < 8e6
    assert (beat.busy_request_id, beat.gpu_bytes, beat.gpu_total_bytes) == (7, 0, 0)


CYCLES = """
import gc, weakref
from vr_ros.pipeline.worker_memory import give_back, keep_for_good

class Node:
    pass

loaded = [Node() for _ in range(1000)]
keep_for_good()
gc.disable()
left = Node()
left.itself, gone = left, weakref.ref(left)
del left
give_back()
print(gone() is None, gc.get_freeze_count() >= 1000, len(loaded))
"""


def test_cycles_go_and_what_is_loaded_stays() -> None:
    done = subprocess.run(
        [sys.executable, '-c', CYCLES], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ['True', 'True', '1000']
