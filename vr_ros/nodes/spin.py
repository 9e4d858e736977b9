"""Runs a node as a program: one thread, an orderly end on SIGINT and SIGTERM."""
from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vr_ros.nodes.parameter_spec import ParameterError
from vr_ros.nodes.safely import report_failure
from vr_ros.pipeline.heap import keep_one_heap

EXIT_OK = 0
EXIT_USAGE = 2
# Callbacks catch their own exceptions. What fails again and again beyond them must not take the
# whole processor for it, nor fill the disk with its tracebacks.
_LONGEST_PAUSE_S = 1.0
_LAST_WORDS_S = 0.5
# An orderly end takes less than this.
_PATIENCE_S = 5.0


def run_node(make_node: Callable[[], Node], stop: Callable[[Node], None],
             arguments: Sequence[str] | None = None) -> int:
    """Make a node and spin it until a signal comes.

    :param stop: called once before the end, while everything can still be published.
    :return: the exit status of the program.
    """
    keep_one_heap()
    try:
        # Handlers of our own: rclpy's would end the context before the node has said its last word.
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    except (ParameterError, RuntimeError) as error:
        print(' '.join(str(error).split()), file=sys.stderr)
        rclpy.try_shutdown()
        return EXIT_USAGE
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        _spin(executor, node)
        stop(node)
        _spin_for(executor, _LAST_WORDS_S)
    except ExternalShutdownException:
        pass  # somebody shut the context down: nothing can be said any more
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return EXIT_OK


def _spin(executor: SingleThreadedExecutor, node: Node) -> None:
    ended = threading.Event()

    def end() -> None:
        ended.set()
        executor.create_task(ended.set)  # wakes it

    _on_signal(end)
    failures = 0
    while not ended.is_set():
        try:
            executor.spin_once()
            failures = 0
        except ExternalShutdownException:
            raise
        except Exception:
            # As when a client goes away just before its response is sent.
            failures += 1
            report_failure(node, 'spin')
            ended.wait(min(1e-4 * 2 ** min(failures, 20), _LONGEST_PAUSE_S))


def _spin_for(executor: SingleThreadedExecutor, seconds: float) -> None:
    end_at = time.monotonic() + seconds
    while (left := end_at - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left)


def _on_signal(act: Callable[[], object]) -> None:
    """Call act, in another thread, when SIGINT or SIGTERM comes.

    Python runs handlers in the main thread only, which sits in a wait of the middleware's. Further
    signals change nothing for a while: Ctrl-C in a terminal often comes from two sides. Then they
    end the program as if it handled none.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    come_at: list[float] = []

    def handle(number: int, _: object) -> None:
        come_at.append(time.monotonic())
        if come_at[-1] - come_at[0] > _PATIENCE_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)

    def wait() -> None:
        while os.read(reader, 1)[0] not in (signal.SIGINT, signal.SIGTERM):
            pass
        act()

    threading.Thread(target=wait, name='vr_ros signals', daemon=True).start()
