"""Which status a failure of a back-end becomes, and whether the worker can go on after it."""
from __future__ import annotations

import math
import sys
from collections.abc import Iterable

from vr_ros.core.types import Detection, PerceptionError, Status

_FLOAT32_MAX = 3.4028234e38
_UINT32_MAX = 2**32 - 1


class BackendError(Exception):
    """The back-end returned what no consumer may act on."""


def status_of(error: BaseException) -> Status:
    """Return the status of a result that ended with this exception."""
    if isinstance(error, PerceptionError):
        return error.status
    return Status.OUT_OF_MEMORY if is_out_of_memory(error) else Status.MODEL_ERROR


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory of the host or of the device ran out."""
    if isinstance(error, PerceptionError):
        return error.status is Status.OUT_OF_MEMORY
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get('torch')
    kind = getattr(torch, 'OutOfMemoryError', None)
    if kind is not None and isinstance(error, kind):
        return True
    # torch's host allocator and its CUDA calls outside the caching allocator raise RuntimeError.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        'out of memory' in text or "can't allocate memory" in text or 'alloc_failed' in text)


def is_device_lost(error: BaseException) -> bool:
    """Tell whether the CUDA context is beyond use, so that only a new process can go on.

    An illegal address or a failed device assertion makes every later CUDA call of the process fail.
    """
    return (isinstance(error, RuntimeError) and 'CUDA error' in str(error)
            and not is_out_of_memory(error))


def one_line(error: BaseException) -> str:
    """Describe an exception in one line of at most 300 characters."""
    if isinstance(error, PerceptionError):
        return error.message
    text = ' '.join(str(error).split())
    line = f'{type(error).__name__}: {text}' if text else type(error).__name__
    return line if len(line) <= 300 else line[:297] + '...'


def check_detections(detections: Iterable[Detection]) -> None:
    """Let no box or point through that a robot could not go to, and no number that a message of
    the middleware could not hold.

    :raises BackendError: a coordinate is NaN, infinite or no float32, another number no uint32.
    """
    for detection in detections:
        numbers = (*detection.box, *(detection.point or ()))
        if not all(map(math.isfinite, numbers)):
            raise BackendError(f'object {detection.index} has a coordinate that is not finite: '
                               f'box {detection.box}, point {detection.point}')
        if (any(abs(number) > _FLOAT32_MAX for number in numbers)
                or not 0 <= detection.index <= _UINT32_MAX
                or not 0 <= detection.area_px <= _UINT32_MAX):
            raise BackendError(f'a number of object {detection.index} is out of range: box '
                               f'{detection.box}, point {detection.point}, {detection.area_px} px')
