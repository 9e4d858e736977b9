"""``ask "count the red cubes"``: send one instruction to a perception node, show what it finds."""
from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rclpy.validate_topic_name import validate_topic_name
from rich.console import Console

from vr_ros.bags.result_messages import Result, read_result
from vr_ros.core.types import Instruction, Mode, Status, Task
from vr_ros.nodes.convert import Perceive, instruction_to_msg
from vr_ros.nodes.results import result_json
from vr_ros.nodes.screen import ReasoningPrinter, print_perception
from vr_ros.nodes.updates import Stage

EXIT_OK, EXIT_ERROR, EXIT_USAGE = 0, 1, 2
TASKS = tuple(task.name.lower() for task in Task)
# How long the node may be out of sight before it counts as gone.
GONE_S = 5.0
SETTLE_S = 0.3
ACCEPT_PATIENCE_S = 15.0
CANCEL_PATIENCE_S = 10.0
_WAITS = {Stage.QUEUED: 'waiting for its turn', Stage.WAITING_MODEL: 'the model is loading',
          Stage.WAITING_IMAGE: 'waiting for an image'}


class NobodyAnswersError(Exception):
    """There is no perception node, or no longer; one line that says what to do."""


@dataclass(frozen=True)
class AskOptions:
    """One question.

    :param wait_s: for a perception node to be found.
    :param node: its name.
    """

    instruction: Instruction
    node: str = 'perception'
    wait_s: float = 5.0
    as_json: bool = False


class Interrupts:
    """Counts SIGINT and SIGTERM, which otherwise do nothing while this is in force."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, *unused: object) -> None:
        self.count += 1


class Conversation:
    """One goal of the action, from sending it to its end.

    :param on_text: gets pieces of reasoning as they come.
    :param on_stage: gets what the goal waits for, when that changes.
    :param on_result: gets each result of a continuous instruction, and the one of any other.
    """

    def __init__(self, node: Node, executor: SingleThreadedExecutor, options: AskOptions,
                 interrupts: Interrupts, on_text: Callable[[str], None],
                 on_stage: Callable[[Stage], None], on_result: Callable[[Result], None]) -> None:
        self._node, self._executor, self._options = node, executor, options
        self._interrupts = interrupts
        self._on_text, self._on_stage, self._on_result = on_text, on_stage, on_result
        self._stage: Stage | None = None
        # Feedback comes token by token: the default would keep ten.
        self._client = ActionClient(node, Perceive, f'{options.node}/perceive',
                                    feedback_sub_qos_profile=QoSProfile(depth=200))

    def run(self) -> None:
        """Send the goal and wait for its end; interrupted, cancel it.

        :raises NobodyAnswersError: there is no node, or it went away.
        """
        if not self._find_node():
            return
        goal = Perceive.Goal(instruction=instruction_to_msg(self._options.instruction))
        accepted = self._accepted(self._client.send_goal_async(goal, self._on_feedback))
        ended = accepted.get_result_async()
        self._wait(lambda: ended.done() or self._interrupts.count > 0)
        if not ended.done():
            accepted.cancel_goal_async()
            end_at = time.monotonic() + CANCEL_PATIENCE_S
            self._wait(lambda: ended.done() or self._interrupts.count > 1
                       or time.monotonic() > end_at)
        if ended.done():
            result = ended.result().result
            self._on_result(read_result(result.detections, result.answer))

    def _find_node(self) -> bool:
        end_at = time.monotonic() + self._options.wait_s
        self._wait(lambda: self._client.server_is_ready() or self._interrupts.count > 0
                   or time.monotonic() > end_at, watch=False)
        if self._interrupts.count:
            return False
        if not self._client.server_is_ready():
            name = self._node.resolve_service_name(self._options.node)
            raise NobodyAnswersError(
                f'no perception node {name} on this graph: start one with '
                '"ros2 launch vr_ros perception.launch.py", or name it with --node')
        # The node has to find this end as well, or its first feedback is lost.
        settled_at = time.monotonic() + SETTLE_S
        self._wait(lambda: time.monotonic() > settled_at)
        return True

    def _accepted(self, future: Any) -> ClientGoalHandle:
        end_at = time.monotonic() + ACCEPT_PATIENCE_S
        self._wait(lambda: future.done() or time.monotonic() > end_at)
        if not future.done() or not future.result().accepted:
            raise NobodyAnswersError('the perception node does not take the goal: it is stuck, or '
                                     'there are two of its name')
        return future.result()

    def _wait(self, is_over: Callable[[], bool], watch: bool = True) -> None:
        """:raises NobodyAnswersError: the node has gone."""
        seen_at = time.monotonic()
        while not is_over():
            self._executor.spin_once(timeout_sec=0.1)
            if self._client.server_is_ready():
                seen_at = time.monotonic()
            elif watch and time.monotonic() - seen_at > GONE_S:
                raise NobodyAnswersError('the perception node went away before it had answered')

    def _on_feedback(self, message: Any) -> None:
        feedback = message.feedback
        stage = Stage(feedback.stage)
        if stage is not self._stage:
            self._stage = stage
            self._on_stage(stage)
        self._on_text(feedback.new_reasoning)
        if stage is Stage.RESULT and self._options.instruction.mode is Mode.CONTINUOUS:
            self._on_result(read_result(feedback.detections[0], feedback.answer[0]))


def parse(arguments: Sequence[str]) -> AskOptions:
    """Read the command line, without its ROS arguments.

    :raises SystemExit: with status 2, bad usage.
    """
    parser = argparse.ArgumentParser(
        prog='ask', description='Ask a perception node what its cameras see.',
        epilog='Exit status: 0 answered, 1 no answer (an error status, cancelled), 2 bad usage or '
               'no perception node.')
    parser.add_argument('text', nargs='+', help='what to look for, in plain words')
    parser.add_argument('--task', choices=TASKS, default='auto', help='default: from the words')
    parser.add_argument('--continuous', action='store_true', help='again and again until Ctrl-C')
    parser.add_argument('--camera', action='append', default=[], metavar='NAME',
                        help='which camera; may be repeated (default: all)')
    parser.add_argument('--timeout', type=float, default=0.0, metavar='S',
                        help='seconds to answer within (default: what the node is set to)')
    parser.add_argument('--node', default='perception', help='name of the perception node')
    parser.add_argument('--wait', type=float, default=5.0, metavar='S',
                        help='seconds to look for the node (default: %(default)s)')
    parser.add_argument('--json', action='store_true',
                        help='print each result as one line of JSON, and nothing else')
    options = parser.parse_args(arguments)
    for name in ('timeout', 'wait'):
        if not 0 <= getattr(options, name) < math.inf:
            parser.error(f'--{name} is a number of seconds from 0 on')
    instruction = Instruction(
        '', ' '.join(options.text), Task[options.task.upper()],
        Mode.CONTINUOUS if options.continuous else Mode.ONCE, tuple(options.camera),
        deadline_s=options.timeout)
    return AskOptions(instruction, options.node, options.wait, options.json)


def _mended(text: str) -> str:
    """Leave out bytes that are no UTF-8: ROS could not send them."""
    return text.encode('utf-8', 'ignore').decode()


def _is_node_name(name: str) -> bool:
    try:
        # It lets repeated slashes through, which ROS then refuses.
        return bool(name) and '//' not in f'{name}/' and validate_topic_name(f'{name}/perceive')
    except InvalidTopicNameException:
        return False


def converse(options: AskOptions, node: Node, executor: SingleThreadedExecutor,
             console: Console) -> int:
    """Ask, and show what comes.

    :return: the exit status of the program.
    :raises NobodyAnswersError: there is no node, or it went away.
    """
    printer = ReasoningPrinter(console)
    ended_well: list[bool] = []

    def show_stage(stage: Stage) -> None:
        if stage in _WAITS and not options.as_json:
            printer.end()
            console.print(f'{_WAITS[stage]} …', style='dim')

    def show(result: Result) -> None:
        status = result.perception.status
        # Cancelling is the way to end a continuous instruction.
        if status is not Status.CANCELLED or options.instruction.mode is not Mode.CONTINUOUS:
            ended_well.append(not status.is_error)
        if options.as_json:
            print(json.dumps(result_json(result), ensure_ascii=False, allow_nan=False), flush=True)
            return
        printer.end(result.perception.reasoning)
        print_perception(console, result.perception)

    with Interrupts() as interrupts:
        Conversation(node, executor, options, interrupts,
                     (lambda _: None) if options.as_json else printer.add, show_stage, show).run()
    return EXIT_OK if ended_well and ended_well[-1] else EXIT_ERROR


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    :return: 0 answered, 1 an error status, 2 bad usage or nobody there.
    """
    given = [_mended(word) for word in (sys.argv if arguments is None else ['ask', *arguments])]
    options = parse(remove_ros_args(given)[1:])
    if not _is_node_name(options.node):
        print(f'ask: --node {ascii(options.node)} is no name of a node: letters, digits, "_", and '
              '"/" between namespaces', file=sys.stderr)
        return EXIT_USAGE
    context = rclpy.Context()
    rclpy.init(args=given, context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node(f'ask_{os.getpid()}', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        return converse(options, node, executor, Console())
    except NobodyAnswersError as error:
        print(f'ask: {error}', file=sys.stderr)
        return EXIT_USAGE
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
