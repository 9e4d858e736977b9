"""Threads share the heap of a process that asks for it."""
from __future__ import annotations

import subprocess
import sys

import pytest

# Threads that hold a small block each, and the heaps that glibc then describes.
THREADS = """
import ctypes, sys, threading
from vr_ros.pipeline.heap import keep_one_heap
if sys.argv[1] == 'one':
    assert keep_one_heap()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.malloc.restype = ctypes.c_void_p
ready, done = threading.Barrier(5), threading.Event()
def hold():
    libc.malloc(5000)
    ready.wait()
    done.wait()
for _ in range(4):
    threading.Thread(target=hold).start()
ready.wait()
stream = libc.fdopen(1, b'w')
libc.malloc_info(0, stream)
libc.fflush(ctypes.c_void_p(stream))
done.set()
"""


@pytest.mark.parametrize(('asked', 'is_one'), [('one', True), ('none', False)])
def test_threads_share_one_heap_when_asked(asked: str, is_one: bool) -> None:
    done = subprocess.run([sys.executable, '-c', THREADS, asked], capture_output=True, text=True,
                          check=True, timeout=60)
    assert (done.stdout.count('<heap nr=') == 1) is is_one, done.stdout
