"""The demo on the user's own picture: the pipeline alone, without a graph."""
from __future__ import annotations

from pathlib import Path

import cv2
from rich.console import Console

from vr_ros.core.events import Event, TextEvent
from vr_ros.core.types import PerceptionError, Status
from vr_ros.evaluation.report import Case
from vr_ros.nodes.screen import ReasoningPrinter


def ask_about_picture(path: Path, text: str, model: str, console: Console) -> Case:
    """Load a model, show it a picture, print its reasoning as it comes.

    :raises PerceptionError: BAD_IMAGE, BAD_INSTRUCTION or MODEL_UNAVAILABLE.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise PerceptionError(Status.BAD_IMAGE, f'{path} is no picture that can be read')
    rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    # Late: the live demo leaves torch to the worker.
    from vr_ros.pipeline.perceiver import Perceiver

    console.print(f'Loading {model} …')
    perceiver = Perceiver.from_card(model)
    printer = ReasoningPrinter(console)

    def on_event(event: Event) -> None:
        if isinstance(event, TextEvent):
            printer.add(event.text)

    perception = perceiver.perceive(rgb, text, on_event=on_event)
    printer.end(perception.reasoning)
    return Case(text, perception, rgb, how='picture')
