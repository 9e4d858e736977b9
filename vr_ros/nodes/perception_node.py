"""The perception node: instructions and images in; detections, counts, masks and answers out."""
from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from std_msgs.msg import String

from vr_ros.core.types import Mode, Stamp, Task
from vr_ros.nodes import qos
from vr_ros.nodes.alarm import Alarm
from vr_ros.nodes.cameras import Camera, make_cameras
from vr_ros.nodes.convert import InstructionMsg, instruction_from_msg
from vr_ros.nodes.diagnostics import CameraJudge, judge_instructions
from vr_ros.nodes.diagnostics_thread import DiagnosticsThread, SelfReport
from vr_ros.nodes.dispatch import Clocks, Dispatcher
from vr_ros.nodes.image_input import ImageInput
from vr_ros.nodes.parameter_server import ParameterServer
from vr_ros.nodes.parameter_spec import ParameterError
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.perceive_requests import PerceiveRequests
from vr_ros.nodes.publishers import ResultPublishers
from vr_ros.nodes.safely import guard_services, safely
from vr_ros.nodes.spin import run_node
from vr_ros.nodes.topic_diagnosis import judge_topics
from vr_ros.nodes.topic_watch import watch_of
from vr_ros.nodes.updates import Answer, Update
from vr_ros.nodes.views.target_frame import WARNING_PERIOD_S, TargetFrame
from vr_ros.nodes.views.transforms import NOT_INSTALLED, Transforms
from vr_ros.nodes.views.viewpoints import Viewpoints
from vr_ros.nodes.views.views import Views
from vr_ros.nodes.worker_bridge import WorkerBridge
from vr_ros.pipeline.worker_state import WorkerHealth, WorkerState

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_ERROR = TransitionCallbackReturn.ERROR
_RETRY_S = 1.0


class PerceptionNode(LifecycleNode):
    """Wires subscriptions, the dispatcher, the worker and publishers together.

    Everything but diagnostics runs in the thread that spins the node, and nothing there takes long.

    :param arguments: for rclpy.node.Node, such as parameter_overrides.
    :raises ParameterError: a parameter cannot be used.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__('perception', **arguments)
        # Kilted also destroys a node whose parameters were refused: what it has got by then ends.
        self._endings = ExitStack()
        self._cameras: dict[str, Camera] = {}
        self._is_active = False
        self._is_shut_down = False
        self._changed = self.create_guard_condition(safely(self, self._pump))
        self._table = ParameterServer(
            self, PerceptionParameters, lambda: not self._cameras, self._changed.trigger)
        self._transforms = Transforms(self)
        self._endings.callback(self._transforms.close)
        self._views = Views(self, TargetFrame(
            self, self._transforms.at, lambda: self._table.values.target_frame).place)
        self._outputs = ResultPublishers(self, lambda: self._table.values)
        self._dispatcher = Dispatcher(
            lambda: self._table.values,
            Clocks(time.monotonic, lambda: int(self.get_clock().now().nanoseconds)),
            self._on_update, self.get_logger().warning)
        self._bridge = WorkerBridge(self, safely(self, self._dispatcher.on_worker),
                                    safely(self, self._on_health), self._set_alarm)
        self._alarm = Alarm(self, safely(self, self._pump))
        self._input = ImageInput(self, self._pump)
        self._requests = PerceiveRequests(
            self, self._dispatcher, lambda: self._table.values, self._set_alarm)
        self._subscribe_instructions()
        self._watch_clock()
        guard_services(self)
        self._camera_judge = CameraJudge()
        self._diagnostics = DiagnosticsThread(
            self, self._table.values.diagnostics_period, self._look, lambda: self._bridge.health)
        self._endings.callback(self._diagnostics.end)

    def destroy_node(self) -> None:
        """End the thread of the diagnostics, then the node."""
        self._endings.close()
        super().destroy_node()

    def _watch_clock(self) -> None:
        """Have another look at the images when simulated time jumps: their ages are others then.

        Nothing else needs it: what has to last does so by the steady clock.
        """
        jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=Duration(seconds=1), min_backward=Duration(nanoseconds=-1)),
            post_callback=safely(self, self._on_jump))
        self._endings.callback(jumps.unregister)  # the clock holds it, and it holds the node

    def _on_jump(self, jump: TimeJump) -> None:
        self.get_logger().info(f'The clock jumped by {jump.delta.nanoseconds / 1e9:+.1f} s')
        self._changed.trigger()

    def _subscribe_instructions(self) -> None:
        qos.create_subscription(self, InstructionMsg, 'instruction',
                                safely(self, self._on_instruction), qos.command())
        qos.create_subscription(self, String, 'instruction_text',
                                safely(self, self._on_text), qos.command())

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start loading the model, and return."""
        return safely(self, self._configure, _ERROR)()

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take images and instructions, whether the model is ready or not."""
        return safely(self, self._activate, _ERROR)()

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer what is open with NOT_ACTIVE; the model stays loaded."""
        return safely(self, self._deactivate, _ERROR)()

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the worker, and with it all the memory it holds."""
        return safely(self, self._clean_up, _ERROR)()

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Do as on_cleanup, from any state; it is the last transition."""
        self._is_shut_down = True
        return safely(self, self._clean_up, _ERROR)()

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after a transition that raised."""
        return safely(self, self._clean_up, _FAILURE)()

    def _configure(self) -> TransitionCallbackReturn:
        values = self._table.values
        try:
            self._cameras = make_cameras(
                values.image_topics, values.cameras, values.image_transport, values.depth_topics,
                lambda: self._table.values.depth_tolerance,
                Viewpoints(self._transforms.at, lambda: self._table.values).of)
        except ParameterError as error:
            self.get_logger().error(str(error))
            return _FAILURE
        self.get_logger().info(f'Configuring: loading {values.model}')
        self._dispatcher.attach(self._bridge.open(values), self._cameras)
        self._listen_to_transforms()
        return _SUCCESS

    def _listen_to_transforms(self) -> None:
        """Begin before the first image comes, if a parameter asks for transforms."""
        values = self._table.values
        asking = [name for name in ('target_frame', 'gravity_frame') if getattr(values, name)]
        if asking:
            self._transforms.open()
        if asking and not self._transforms.is_available:
            self.get_logger().warning(f'{" and ".join(asking)} without effect: {NOT_INSTALLED}')

    def _activate(self) -> TransitionCallbackReturn:
        self.get_logger().info('Activating')
        self._is_active = True
        self._input.start(self._cameras.values())
        self._dispatcher.activate()
        return _SUCCESS

    def _deactivate(self) -> TransitionCallbackReturn:
        self.get_logger().info('Deactivating')
        self._end_work()
        return _SUCCESS

    def _end_work(self) -> None:
        self._is_active = False
        self._dispatcher.deactivate()
        self._input.stop()
        for camera in self._cameras.values():
            camera.clear()
        self._set_alarm()

    def _clean_up(self) -> TransitionCallbackReturn:
        self.get_logger().info('Cleaning up')
        self._end_work()
        self._dispatcher.detach()
        self._bridge.close()
        self._transforms.close()
        self._cameras = {}
        return _SUCCESS

    def _on_update(self, update: Update) -> None:
        safely(self, self._outputs.publish)(update)
        safely(self, self._views.show)(update)
        if isinstance(update, Answer) and update.frame is not None and update.frame.lacks:
            self.get_logger().warning(
                f'camera {update.job.camera!r:.80}: {update.frame.lacks}',
                throttle_duration_sec=WARNING_PERIOD_S)

    def _on_instruction(self, message: InstructionMsg) -> None:
        instruction, error = instruction_from_msg(message, self._now())
        try:
            self._dispatcher.submit(instruction, error=error)
        finally:
            self._set_alarm()

    def _on_text(self, message: String) -> None:
        values = self._table.values
        self._on_instruction(InstructionMsg(
            text=message.data, mode=int(Mode[values.instruction_text_mode.upper()]),
            task=int(Task[values.instruction_text_task.upper()])))

    def _on_health(self, health: WorkerHealth) -> None:
        line = f'model {health.state.value}' + (f': {health.message}' if health.message else '')
        # Two lines of code: rclpy lets no line log at more than one severity.
        if health.state in (WorkerState.FAILED, WorkerState.RESTARTING):
            self.get_logger().error(line)
        else:
            self.get_logger().info(line)
        is_ready = health.state is WorkerState.READY
        if is_ready and self._table.values.tracking and not health.can_track:
            self.get_logger().info('this model has no video memory: nothing is tracked, '
                                   'continuous instructions are answered at reason_period')
        self._dispatcher.on_health(health)

    def _pump(self) -> None:
        try:
            self._dispatcher.pump()
        except Exception:
            # Without an alarm an open instruction would wait for something else to happen.
            self._alarm.set(time.monotonic() + _RETRY_S)
            raise
        self._set_alarm()

    def _set_alarm(self) -> None:
        self._alarm.set(self._dispatcher.wake_at)

    def _look(self) -> SelfReport:
        values, now = self._table.values, time.monotonic()
        diagnoses = [judge_instructions(self._dispatcher.waiting, values.queue_size,
                                        self._dispatcher.results, now, values.max_latency),
                     judge_topics(watch_of(self))]
        now_ns = self.get_clock().now().nanoseconds
        for camera in self._cameras.values() if self._is_active else ():
            diagnoses.append(self._camera_judge.judge(
                camera, self._input.calibrated_size(camera), values.max_image_age, now, now_ns,
                values.min_image_rate))
        return SelfReport(tuple(diagnoses), values.max_silence)

    def _now(self) -> Stamp:
        return Stamp(*self.get_clock().now().seconds_nanoseconds())

    @property
    def worker_health(self) -> WorkerHealth:
        """How the worker is."""
        return self._bridge.health

    def end(self) -> None:
        """Give open instructions their results and end the worker."""
        if not self._is_shut_down:
            self.trigger_shutdown()

    @property
    def wants_autostart(self) -> bool:
        """Whether nobody else configures and activates the node."""
        return self._table.values.autostart


def make_node() -> Node:
    """Make the node, and start it if it is to start by itself."""
    node = PerceptionNode()
    if node.wants_autostart and node.trigger_configure() is _SUCCESS:
        node.trigger_activate()
    return node


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node as a program."""
    return run_node(make_node, PerceptionNode.end, arguments)
