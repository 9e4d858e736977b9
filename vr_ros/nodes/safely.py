"""Keeps a failing callback from ending the node."""
from __future__ import annotations

import functools
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from rclpy.node import Node

Value = TypeVar('Value')

_FAILURES: WeakKeyDictionary[Node, Counter[str]] = WeakKeyDictionary()


def failures_of(node: Node) -> Counter[str]:
    """:return: how often each callback of a node has failed, by the callback's name."""
    return _FAILURES.setdefault(node, Counter())


def report_failure(node: Node, name: str, about: str = '') -> None:
    """Log the exception that is being handled, with its traceback, and count it.

    :param name: by which it is counted: one of a few.
    :param about: what it was at, for the log.
    """
    failures_of(node)[name] += 1
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
