"""The C library's heap, in processes that run for days."""
from __future__ import annotations

import ctypes

# Source: malloc.h of glibc.
_M_ARENA_MAX = -8


def keep_one_heap() -> bool:
    """Have all threads share one heap; call it before there are any others.

    glibc gives each thread a heap of its own, which keeps what others freed in pieces: that grows
    for days.

    :return: whether the C library knows the setting.
    """
    setting = getattr(ctypes.CDLL(None), 'mallopt', None)
    return setting is not None and bool(setting(_M_ARENA_MAX, 1))


def trim_heap() -> bool:
    """Give freed memory back to the system: one or two milliseconds.

    :return: whether any was; False as well where the C library has no such call.
    """
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    return trim is not None and bool(trim(0))
