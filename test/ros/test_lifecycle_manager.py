"""The node under a lifecycle manager: the calls that Nav2's makes, in its order, one by one.

With `bond_timeout: 0.0` that manager knows a node by the services change_state and get_state alone:
it asks for a transition, then whether the state is the one that it leads to.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fault_rig import Rig, descendants, until_gone
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from vr_ros.core.types import Status

GOALS = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: State.PRIMARY_STATE_FINALIZED}
NAMES = {Transition.TRANSITION_CONFIGURE: 'configure', Transition.TRANSITION_ACTIVATE: 'activate',
         Transition.TRANSITION_DEACTIVATE: 'deactivate', Transition.TRANSITION_CLEANUP: 'cleanup',
         Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: 'shutdown'}


class Manager:
    """Does what the commands of a lifecycle manager do.

    :ivar transcript: what was asked for, whether it was done, and the state afterwards.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig, self.transcript = rig, list[str]()
        node = rig.robot.node
        self._change = node.create_client(ChangeState, 'perception/change_state')
        self._get = node.create_client(GetState, 'perception/get_state')
        rig.until(lambda: self._change.service_is_ready() and self._get.service_is_ready())
        rig.until(self._is_answered)

    def startup(self) -> None:
        self._go(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)

    def pause(self) -> None:
        self._go(Transition.TRANSITION_DEACTIVATE)

    def resume(self) -> None:
        self._go(Transition.TRANSITION_ACTIVATE)

    def reset(self) -> None:
        self._go(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)

    def shutdown(self) -> None:
        self._go(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                 Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)

    def state(self) -> State:
        return self._call(self._get, GetState.Request()).current_state

    def _is_answered(self) -> bool:
        """Ask until it is: the services of a node that was killed seem to be there for a while."""
        done = self._get.call_async(GetState.Request())
        self._rig.robot.spin(0.5)
        return bool(done.done())

    def _go(self, *transitions: int) -> None:
        for number in transitions:
            done = self._call(self._change, ChangeState.Request(transition=Transition(id=number)))
            state = self.state()
            assert done.success and state.id == GOALS[number], (NAMES[number], done, state)
            self.transcript.append(f'{NAMES[number]}: {state.label}')

    def _call(self, client: Any, request: Any) -> Any:
        done = client.call_async(request)
        self._rig.until(done.done)
        return done.result()


STARTUP = ['configure: inactive', 'activate: active']
PAUSE, RESUME = ['deactivate: inactive'], ['activate: active']
RESET = ['deactivate: inactive', 'cleanup: unconfigured']
SHUTDOWN = [*RESET, 'shutdown: finalized']


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp('managed'), 'managed', autostart=False) as made:
        yield made


def ask(rig: Rig) -> int:
    """Ask something ordinary once the model is ready, and return the status."""
    rig.until_ready()
    rig.show()
    return int(rig.answer_on_film(rig.tell('echo')).outcome.status)


def begin(rig: Rig, text: str) -> str:
    """Have the worker compute something that does not end by itself."""
    rig.show()
    name = rig.tell(text)
    rig.robot.spin(0.5)
    assert rig.robot.answers(name) == []
    return name


def test_a_manager_leads_it_through_its_life(rig: Rig) -> None:
    manager = Manager(rig)
    assert manager.state().id == State.PRIMARY_STATE_UNCONFIGURED
    # It is active before the model is there: a manager does not wait for gigabytes.
    manager.startup()
    assert ask(rig) == Status.OK

    for text, down, up in (
            ('words 100000', manager.pause, manager.resume),
            ('hang', manager.pause, manager.resume),
            ('words 100000', manager.reset, manager.startup),
            ('hang with the interpreter lock', manager.reset, manager.startup)):
        name = begin(rig, text)
        # What is asked while the worker computes, or does not even do that, is answered.
        assert manager.state().id == State.PRIMARY_STATE_ACTIVE
        down()
        assert rig.answer(name).outcome.status == Status.NOT_ACTIVE
        # What was heard of the images before must not be compared with.
        rig.until(lambda: 'camera camera' not in rig.health)
        up()
        assert ask(rig) == Status.OK

    workers = rig.workers | descendants(rig.process.pid)
    begin(rig, 'words 100000')
    manager.shutdown()
    assert until_gone(workers) == set()
    assert manager.transcript == [
        *STARTUP, *PAUSE, *RESUME, *PAUSE, *RESUME, *RESET, *STARTUP, *RESET, *STARTUP, *SHUTDOWN]


def test_a_manager_starts_a_node_again_that_was_killed(rig: Rig) -> None:
    manager = Manager(rig)
    manager.startup()
    assert ask(rig) == Status.OK
    rig.kill()
    rig.revive()
    again = Manager(rig)
    again.startup()
    assert again.transcript == STARTUP
    assert ask(rig) == Status.OK
