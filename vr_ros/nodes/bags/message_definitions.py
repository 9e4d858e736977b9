"""Definitions of message types, as bags embed them so that any tool can read them."""
from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

_PRIMITIVES = frozenset({
    'bool', 'byte', 'char', 'float32', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32',
    'uint32', 'int64', 'uint64', 'string', 'wstring'})
# A type at the start of a line, without the bounds of strings and arrays.
_FIELD_TYPE = re.compile(r'^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]')
_SEPARATOR = '=' * 80


class UnknownTypeError(Exception):
    """A message type that is not installed here; one line that names it."""


def message_class(type_name: str) -> type[Any]:
    """Import the class of a message type.

    :param type_name: as in 'sensor_msgs/msg/Image'.
    :raises UnknownTypeError: it is not installed.
    """
    try:
        package, folder, name = type_name.split('/')
        kind: type[Any] = getattr(import_module(f'{package}.{folder}'), name)
    except (ValueError, ImportError, AttributeError):
        raise UnknownTypeError(f'message type {type_name} is not installed') from None
    return kind


def installed_text(type_name: str) -> str:
    """Read the .msg file of an installed type.

    :raises UnknownTypeError: there is none.
    """
    try:
        package, folder, name = type_name.split('/')
        path = Path(get_package_share_directory(package)) / folder / f'{name}.msg'
        return path.read_text(encoding='utf-8')
    except (ValueError, OSError, PackageNotFoundError):
        raise UnknownTypeError(f'message type {type_name} has no definition here') from None


def message_definition(type_name: str, read: Callable[[str], str] = installed_text) -> str:
    """Put the definition of a type and of all types in it into one text.

    Format: schema encoding ros2msg of the MCAP specification.

    :param read: gives the text of a .msg file by its type name.
    :raises UnknownTypeError: from read.
    """
    texts = {type_name: read(type_name)}
    waiting = _types_in(texts[type_name], type_name)
    while waiting:
        name = waiting.pop(0)
        if name not in texts:
            texts[name] = read(name)
            waiting += _types_in(texts[name], name)
    own = texts.pop(type_name)
    parts = [f'{_SEPARATOR}\nMSG: {name.replace("/msg/", "/")}\n{text}'
             for name, text in texts.items()]
    return '\n'.join([own, *parts])


def _types_in(text: str, type_name: str) -> list[str]:
    package = type_name.split('/')[0]
    found = (_FIELD_TYPE.match(line) for line in text.splitlines())
    names = dict.fromkeys(match[1] for match in found if match)
    return [_full_name(name, package) for name in names if name not in _PRIMITIVES]


def _full_name(name: str, package: str) -> str:
    if '/msg/' in name:
        return name
    owner, _, short = name.rpartition('/')
    return f'{owner or package}/msg/{short}'
