"""Whether a model fits: the size of its weights beside the memory that is free. Needs no torch."""
from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vr_ros.core.types import PerceptionError, Status
from vr_ros.models.card import ModelCard, ReasonerCard, SegmenterCard
from vr_ros.models.card_types import RouterCard
from vr_ros.models.weights import resolve_weights

# For activations, the cache of keys and values, and what libraries take when they are first used.
HEADROOM_BYTES = 256 << 20
HEADROOM_SHARE = 0.1
_HEADER_LENGTH = struct.Struct('<Q')
_MAX_HEADER_BYTES = 100 << 20
_FLOATS = {'F64': 8, 'F32': 4, 'F16': 2, 'BF16': 2, 'F8_E4M3': 1, 'F8_E5M2': 1}
_OTHERS = {'I64': 8, 'U64': 8, 'I32': 4, 'U32': 4, 'I16': 2, 'U16': 2, 'I8': 1, 'U8': 1, 'BOOL': 1}
_WANTED = {'float32': 4, 'bfloat16': 2, 'float16': 2}


def weights_bytes(directory: Path, dtype: str) -> int:
    """Add up what the tensors of a checkpoint take once they are loaded; none is read.

    :param directory: with safetensors files.
    :param dtype: 'float32', 'bfloat16' or 'float16', to which floating-point tensors are converted.
    :raises PerceptionError: MODEL_UNAVAILABLE, a file is damaged.
    """
    total = 0
    for path in sorted(directory.glob('*.safetensors')):
        for name, tensor in _read_header(path).items():
            if name == '__metadata__':
                continue
            try:
                kind, count = tensor['dtype'], math.prod(tensor['shape'])
                total += count * (_WANTED[dtype] if kind in _FLOATS else _OTHERS.get(kind, 8))
            except (TypeError, KeyError) as error:
                raise _damaged(path, f'tensor {name!r:.60} is not described') from error
    return total


def free_host_bytes(root: Path = Path('/')) -> int | None:
    """Ask the system, and the control group that this process may not exceed.

    :param root: where proc and sys are, for tests.
    :return: bytes; None where nobody knows.
    """
    free = [_available(root / 'proc/meminfo'),
            _group_left(root / 'sys/fs/cgroup', 'memory.max', 'memory.current'),
            _group_left(root / 'sys/fs/cgroup/memory', 'memory.limit_in_bytes',
                        'memory.usage_in_bytes')]
    return min((value for value in free if value is not None), default=None)


def free_device_bytes(device: str) -> int | None:
    """Ask a GPU.

    :param device: as torch names it.
    :return: bytes; None for what is no GPU, or one that shares the host's memory: there the driver
        does not count what the system would give back.
    """
    torch = sys.modules.get('torch')
    if torch is None or not device.startswith('cuda') or not torch.cuda.is_available():
        return None
    if getattr(torch.cuda.get_device_properties(device), 'is_integrated', False):
        return None
    return int(torch.cuda.mem_get_info(device)[0])


def check_card_fits(card: ModelCard, device: str) -> None:
    """Compare a card's weights, which have to be there, with the memory that is free now.

    :param device: as torch names it.
    :raises PerceptionError: MODEL_UNAVAILABLE, with the numbers, or because weights are missing.
    """
    kind = device.partition(':')[0]
    models = {'reasoner': card.reasoner, 'segmenter': card.segmenter,
              'router': card.router if card.router.kind == 'qwen2' else None}
    parts = {name: _model_bytes(model, kind) for name, model in models.items() if model is not None}
    check_fits(parts, device, host_free=free_host_bytes(), device_free=free_device_bytes(device))


def _model_bytes(model: ReasonerCard | SegmenterCard | RouterCard, device_type: str) -> int:
    assert model.weights is not None  # only the rules have none
    path = model.weights.path
    if path is not None and path.is_file():
        return path.stat().st_size  # a checkpoint of another format, about as large as its tensors
    return weights_bytes(resolve_weights(model.weights), model.dtype_for(device_type))


def check_fits(parts: Mapping[str, int], device: str, *, host_free: int | None,
               device_free: int | None) -> None:
    """Refuse to load what would run out of memory half-way, or take other programs along.

    :param parts: bytes of weights by what they belong to.
    :param host_free: bytes; None: not known, and not checked.
    :param device_free: the same of the device, where it has memory of its own.
    :raises PerceptionError: MODEL_UNAVAILABLE with the numbers.
    """
    total = sum(parts.values())
    headroom = max(HEADROOM_BYTES, round(HEADROOM_SHARE * total))
    what = ' + '.join(f'{_text(size)} for the {name}' for name, size in parts.items())
    if device_free is not None:
        _check(what, total + headroom, headroom, device_free, f'on {device}')
        # Each part passes through the host's memory on its way, one after the other.
        largest = max(parts, key=lambda name: parts[name])
        _check(f'{_text(parts[largest])} for the {largest}, on its way to {device}',
               parts[largest], 0, host_free, 'of host memory')
    else:
        _check(what, total + headroom, headroom, host_free, 'of host memory')


def _check(what: str, needed: int, headroom: int, free: int | None, where: str) -> None:
    if free is None or needed <= free:
        return
    more = f' + {_text(headroom)} head-room' if headroom else ''
    raise PerceptionError(
        Status.MODEL_UNAVAILABLE,
        f'the model needs {_text(needed)} {where} ({what}{more}), and {_text(free)} are free: end '
        'other programs, or choose a smaller model or another device')


def _text(size: int) -> str:
    return f'{size / 1e9:.2f} GB'


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with path.open('rb') as file:
            length, = _HEADER_LENGTH.unpack(file.read(_HEADER_LENGTH.size))
            if length > _MAX_HEADER_BYTES:
                raise ValueError(f'a header of {length} bytes')
            header = json.loads(file.read(length))
    except (OSError, ValueError, struct.error, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(header, dict):
        raise _damaged(path, 'its header is no JSON object')
    return header


def _damaged(path: Path, reason: str) -> PerceptionError:
    return PerceptionError(
        Status.MODEL_UNAVAILABLE, f'{path} is damaged ({reason}): fetch it again')


def _available(path: Path) -> int | None:
    try:
        lines = path.read_text(encoding='ascii').splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        name, _, value = line.partition(':')
        if name == 'MemAvailable':
            return int(value.split()[0]) * 1024
    return None


def _group_left(folder: Path, limit_name: str, usage_name: str) -> int | None:
    """What a control group may still take; the files that it has cached count as free."""
    try:
        limit = int((folder / limit_name).read_text())
        usage = int((folder / usage_name).read_text())
        details = (folder / 'memory.stat').read_text().splitlines()
    except (OSError, ValueError):  # no such group, or its limit is the word max
        return None
    pairs = dict(line.split()[:2] for line in details if len(line.split()) > 1)
    cached = int(pairs.get('total_inactive_file', pairs.get('inactive_file', 0)))
    return max(0, limit - usage + cached)
