"""Keeps a failing callback from ending the node."""
from __future__ import annotations

import functools
import inspect
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

Value = TypeVar('Value')

_FAILURES: WeakKeyDictionary[Node, Counter[str]] = WeakKeyDictionary()
# The diagnostics have a thread of their own.
_LOCK = threading.Lock()


def failures_of(node: Node) -> Counter[str]:
    """:return: how often each callback of a node has failed so far, by the callback's name."""
    with _LOCK:
        return Counter(_FAILURES.get(node, {}))


def report_failure(node: Node, name: str, about: str = '') -> None:
    """Log the exception that is being handled, with its traceback, and count it.

    :param name: by which it is counted: one of a few.
    :param about: what it was at, for the log.
    """
    with _LOCK:
        _FAILURES.setdefault(node, Counter())[name] += 1
    what = f'{name} {about!r:.80}' if about else name
    node.get_logger().error(f'{what} failed; the node goes on\n{traceback.format_exc()}')


def safely(node: Node, callback: Callable[..., Value],
           fallback: Any = None) -> Callable[..., Value]:
    """Wrap a callback: what it raises is logged with its traceback and counted; the node goes on.

    An exception that leaves a callback leaves spin() too, and with it the node; one that leaves a
    lifecycle callback vanishes without a word.

    :param fallback: returned in place of the callback's own value.
    """
    @functools.wraps(callback)
    def guarded(*arguments: Any) -> Any:
        try:
            return callback(*arguments)
        except Exception:
            report_failure(node, getattr(callback, '__name__', repr(callback)))
            return fallback

    return guarded


def guard_services(node: Node) -> None:
    """Have every service of a node answer, whatever happens: also those that rclpy itself made.

    What fails is answered with the response as it was made: empty, with success false. A service
    that is a coroutine has to see to that itself.
    """
    for service in node.services:
        if not inspect.iscoroutinefunction(service.callback):
            service.callback = _answering(node, service.service_name, service.callback)


def _answering(node: Node, name: str, callback: Callable[..., Value]) -> Callable[..., Value]:
    def answer(request: Any, response: Any) -> Any:
        try:
            return callback(request, response)
        except rclpy_implementation.RCLError as error:
            # As when a lifecycle transition is asked for that does not start at the present state.
            node.get_logger().warning(f'{name}: {" ".join(str(error).split())}')
        except Exception:
            report_failure(node, name)
        return response

    return answer
