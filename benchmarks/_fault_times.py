"""How soon a node answers while its worker loads, hangs or is replaced, as a client measures it."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vr_ros.evaluation.claims import Claim

ROUNDS = 20
# Nav2's lifecycle manager gives a transition that long: its default service_timeout.
SERVICE_TIMEOUT_MS = 5000
# Name, promise in milliseconds or none, and whether the middle or the slowest counts.
_CLAIMS = (
    ('cancel to answer while loading', 100),
    ('cancel to answer while computing', 100),
    ('cancel to answer while hanging', 100),
    ('cancelled hang to the next answer', None),
    # 200 of them are given to a worker that hangs to write down where it does.
    ('TIMEOUT after inference_timeout', 500),
    ('TIMEOUT to the next answer', None),
    ('lifecycle call while computing', SERVICE_TIMEOUT_MS),
    ('lifecycle call while hanging', SERVICE_TIMEOUT_MS),
)
NAMES = tuple(f'{name}, {which}' for name, _ in _CLAIMS for which in ('median', 'slowest'))

Times = dict[str, list[float]]


def measure(rig: Any, rounds: int = ROUNDS) -> Times:
    """Measure each time so many times.

    :param rig: a fault_rig.Rig that is ready.
    :return: milliseconds by what they are of.
    """
    times: Times = {name: [] for name, _ in _CLAIMS}
    rig.load('stuck')
    for _ in range(rounds):
        times['cancel to answer while loading'].append(cancel(rig, 'echo'))
    rig.load('good')
    rig.until_ready()
    for _ in range(rounds):
        times['cancel to answer while computing'].append(
            cancel(rig, 'words 100000', until_begun=True))
    for _ in range(rounds):
        times['cancel to answer while hanging'].append(cancel(rig, 'hang', until_begun=True))
        times['cancelled hang to the next answer'].append(until_next_answer(rig))
    for _ in range(rounds):
        late_ms = time_out(rig)
        times['TIMEOUT after inference_timeout'].append(late_ms)
        times['TIMEOUT to the next answer'].append(until_next_answer(rig))
    for text, name in (('words 100000', 'computing'), ('hang', 'hanging')):
        for _ in range(max(rounds // 4, 1)):
            times[f'lifecycle call while {name}'] += lifecycle_calls(rig, text)
    return times


def claims_of(times: Times) -> list[Claim]:
    """Make claims of the times."""
    made = []
    for name, target in _CLAIMS:
        taken = times[name]
        made += [Claim(f'{name}, median', round(float(np.median(taken)), 1), 'ms', None, 'lower'),
                 Claim(f'{name}, slowest', round(max(taken), 1), 'ms', target, 'lower')]
    return made


def cancel(rig: Any, text: str, *, until_begun: bool = False) -> float:
    """Send a goal and cancel it.

    :param until_begun: not before the worker is at work on it.
    :return: from the cancellation to the result, both as the client sees them.
    """
    from vr_ros.core.types import Status

    handle, feedback = send(rig, text)
    if until_begun:
        rig.until(lambda: any(message.new_reasoning for message in feedback))
    result = handle.get_result_async()
    began = time.perf_counter()
    handle.cancel_goal_async()
    taken_ms = until(rig, result.done, began)
    _expect(result.result().result.detections.outcome.status, Status.CANCELLED)
    return taken_ms


def time_out(rig: Any) -> float:
    """Let the worker hang.

    :return: how long after the last sign of life and inference_timeout the result comes.
    """
    from fault_rig import PARAMETERS

    from vr_ros.core.types import Status

    handle, feedback = send(rig, 'hang')
    rig.until(lambda: any(message.new_reasoning for message in feedback))
    began = time.perf_counter()
    result = handle.get_result_async()
    taken_ms = until(rig, result.done, began)
    _expect(result.result().result.detections.outcome.status, Status.TIMEOUT)
    return taken_ms - 1e3 * PARAMETERS['inference_timeout']


def until_next_answer(rig: Any) -> float:
    """:return: from now until an instruction that is given now has its answer."""
    from vr_ros.core.types import Status

    began = time.perf_counter()
    rig.robot.show()
    name = rig.robot.tell('echo')
    shown_at = began

    def answered() -> bool:
        nonlocal shown_at
        # A camera goes on meanwhile.
        if time.perf_counter() - shown_at > 0.1:
            shown_at = time.perf_counter()
            rig.robot.show()
        return bool(rig.robot.answers(name))

    taken_ms = until(rig, answered, began)
    _expect(rig.robot.answers(name)[0].outcome.status, Status.OK)
    rig.until(lambda: rig.state == 'ready')
    return taken_ms


def lifecycle_calls(rig: Any, text: str) -> list[float]:
    """Lead the node down and up again while its worker is busy, with a look at its state each time.

    :return: the time of each call.
    """
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    state = rig.robot.node.create_client(GetState, 'perception/get_state')
    change = rig.robot.node.create_client(ChangeState, 'perception/change_state')
    rig.until(lambda: state.service_is_ready() and change.service_is_ready())
    _, feedback = send(rig, text)
    rig.until(lambda: any(message.new_reasoning for message in feedback))

    def call(client: Any, request: Any) -> float:
        began = time.perf_counter()
        done = client.call_async(request)
        return until(rig, done.done, began)

    taken = []
    for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                   Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        taken.append(call(state, GetState.Request()))
        if number == Transition.TRANSITION_CONFIGURE:
            # The cameras count anew, so what was heard of the old ones must be forgotten.
            rig.until(lambda: 'camera camera' not in rig.health)
        taken.append(call(change, ChangeState.Request(transition=Transition(id=number))))
    for client in (state, change):
        rig.robot.node.destroy_client(client)
    rig.until_ready()
    return taken


def send(rig: Any, text: str) -> tuple[Any, Sequence[Any]]:
    """Send a goal with a fresh image, and wait until it is accepted.

    :return: its handle, and its feedback as it comes.
    """
    from vr_ros.action import Perceive
    from vr_ros.msg import Instruction

    feedback: list[Any] = []
    rig.robot.show()
    rig.until(rig.robot.action.server_is_ready)
    sent = rig.robot.action.send_goal_async(
        Perceive.Goal(instruction=Instruction(text=text)),
        lambda message: feedback.append(message.feedback))
    rig.until(sent.done)
    return sent.result(), feedback


def until(rig: Any, condition: Callable[[], object], began: float) -> float:
    """Wait for a condition, and return the milliseconds since the beginning."""
    rig.until(condition)
    return (time.perf_counter() - began) * 1e3


def _expect(status: int, wanted: int) -> None:
    """:raises ChildProcessError: it is another one."""
    from vr_ros.core.types import Status

    if status != wanted:
        raise ChildProcessError(f'{Status(status).name} in place of {Status(wanted).name}')
