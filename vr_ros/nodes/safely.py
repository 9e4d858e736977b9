"""Keeps a failing callback from ending the node."""
from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.node import Node

Value = TypeVar('Value')


def safely(node: Node, callback: Callable[..., Value],
           fallback: Any = None) -> Callable[..., Value]:
    """Wrap a callback: what it raises is logged with its traceback, and the node goes on.

    An exception that leaves a callback leaves spin() too, and with it the node; one that leaves a
    lifecycle callback vanishes without a word.

    :param fallback: returned in place of the callback's own value.
    """
    @functools.wraps(callback)
    def guarded(*arguments: Any) -> Any:
        try:
            return callback(*arguments)
        except Exception:
            name = getattr(callback, '__name__', repr(callback))
            node.get_logger().error(f'{name} failed; the node goes on\n{traceback.format_exc()}')
            return fallback

    return guarded
