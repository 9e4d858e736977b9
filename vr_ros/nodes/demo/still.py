"""The demo on the user's own picture: the pipeline alone, without a graph."""
from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from vr_ros.core.events import Event, TextEvent
from vr_ros.core.types import PerceptionError, Status
from vr_ros.evaluation.pages.demo_page import Case
from vr_ros.nodes.screen import ReasoningPrinter


def ask_about_picture(path: Path, text: str, model: str, console: Console) -> Case:
    """Load a model, show it a picture, print its reasoning as it comes.

    :raises PerceptionError: BAD_IMAGE, BAD_INSTRUCTION or MODEL_UNAVAILABLE.
    :raises OSError: the file cannot be read.
    """
    rgb = read_picture(path)
    os.environ.setdefault('HF_HUB_DISABLE_PROGRESS_BARS', '1')  # read when it is imported
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


def read_picture(path: Path) -> np.ndarray:
    """Read an image file, turned as its EXIF data says.

    :return: (H, W, 3) uint8 RGB.
    :raises PerceptionError: BAD_IMAGE, it is none, or of a format that is not known.
    :raises OSError: the file cannot be read.
    """
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise PerceptionError(Status.BAD_IMAGE, f'{path} is no picture that can be read')
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
