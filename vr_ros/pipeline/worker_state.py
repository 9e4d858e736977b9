"""How a worker is, and when it is replaced."""
from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from vr_ros.pipeline.protocol import Heartbeat


class WorkerState(Enum):
    """What the worker is doing. A client ends DEAD or FAILED; the last two are the supervisor's."""

    STARTING = 'starting'
    LOADING = 'loading'
    READY = 'ready'
    FAILED = 'failed'
    DEAD = 'dead'
    RESTARTING = 'restarting'
    CLOSED = 'closed'


@dataclass(frozen=True)
class SupervisionPolicy:
    """When a worker is replaced, and how soon.

    :param restart_delay_s: before the first restart; doubles until an instruction was answered.
    :param inference_timeout_s: longest time without any event while a request is open; 0: no limit.
    :param cancel_grace_s: longest time that a cancelled request may go on computing.
    :param load_timeout_s: longest time without progress while loading; 0: no limit.
    :param load_attempts: deaths in a row before Ready after which loading has failed.
    """

    restart_delay_s: float = 0.5
    restart_delay_max_s: float = 30.0
    inference_timeout_s: float = 30.0
    cancel_grace_s: float = 2.0
    load_timeout_s: float = 0.0
    load_attempts: int = 5


@dataclass(frozen=True)
class WorkerHealth:
    """A snapshot for diagnostics.

    :param message: the loading stage, or why it failed or restarts.
    :param can_track: whether the model that is ready can follow objects.
    :param heartbeat_at: time.monotonic() of the last heartbeat, NaN before the first.
    """

    state: WorkerState = WorkerState.STARTING
    message: str = ''
    model_id: str = ''
    pid: int | None = None
    restarts: int = 0
    heartbeat: Heartbeat | None = None
    heartbeat_at: float = math.nan
    can_track: bool = False
