"""What the dispatcher has to say about an instruction: to the topics, and to whoever asked."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from vr_ros.core.types import Detection, Instruction, Perception, PerceptionError, Stamp, Task
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.instruction_queue import Job


class Stage(IntEnum):
    """How far an answer is. Numbers equal the constants of Perceive.action's feedback."""

    QUEUED = 0
    WAITING_MODEL = 1
    WAITING_IMAGE = 2
    REASONING = 3
    SEGMENTING = 4
    RESULT = 5


@dataclass(frozen=True)
class Progress:
    """An answer on its way.

    :param sequence: number of the result being worked on, from 0.
    :param new_text: reasoning since the previous Progress.
    :param new_detections: those that are new, and those whose mask is.
    :param detections: all so far.
    :param model_id: who is at work; '' when nobody is yet.
    :param task: what the model does; AUTO when it has not said so.
    """

    job: Job
    stage: Stage
    sequence: int
    frame: Frame | None = None
    new_text: str = ''
    new_detections: tuple[Detection, ...] = ()
    detections: tuple[Detection, ...] = ()
    model_id: str = ''
    task: Task = Task.AUTO


@dataclass(frozen=True)
class Answer:
    """A result.

    :param frame: what was looked at; None when no image took part.
    :param sequence: number of this result among those of its instruction on its camera, from 0.
    :param ended: no further result follows.
    :param reasoned_stamp: of the frame that was reasoned about; None: it is that of ``frame``.
    """

    job: Job
    perception: Perception
    frame: Frame | None
    sequence: int
    ended: bool
    reasoned_stamp: Stamp | None = None


def failed(instruction: Instruction, error: PerceptionError) -> Answer:
    """Make the answer to an instruction that was not taken."""
    perception = Perception(error.status, instruction.task, status_message=error.message)
    return Answer(Job(instruction, '', 0, 0.0, 0.0, 0.0), perception, None, 0, ended=True)


@dataclass(frozen=True)
class ActiveInstruction:
    """The instruction that the node attends to now; None when there is none."""

    instruction: Instruction | None


Update = Progress | Answer | ActiveInstruction
UpdateSink = Callable[[Update], None]
