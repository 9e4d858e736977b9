"""Bags in the making: what a robot sees, is asked and answers, message by message."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vr_ros.msg import Detection as DetectionMsg
from vr_ros.msg import DetectionArray, Outcome
from vr_ros.nodes.bags.message_definitions import message_definition
from vr_ros.nodes.bags.writer import BagTopic, BagWriter

HEIGHT, WIDTH = 4, 6
BOX = (1.0, 2.0, 3.0, 4.0)


class Bag:
    """A bag in the making; one second from one message to the next.

    :param options: of BagWriter.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self._writer, self._at = path, BagWriter(path, 'jazzy', **options), 0
        self._numbers: dict[str, int] = {}

    def close(self) -> Path:
        """Complete it; give its folder."""
        self._writer.close()
        return self.path

    def abandon(self) -> Path:
        """Leave it as a crash does, with all that was written so far; give its folder."""
        self._writer.flush()
        self._writer.abandon()
        return self.path

    def flush(self) -> None:
        """End the chunk."""
        self._writer.flush()

    def add(self, topic: str, message: Any) -> None:
        kind = type(message)
        name = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
        self.add_bytes(topic, name, message_definition(name), serialize_message(message))

    def add_bytes(self, topic: str, kind: str, definition: str, data: bytes) -> None:
        """Add a message of a type that need not be installed."""
        if topic not in self._numbers:
            self._numbers[topic] = self._writer.add_topic(BagTopic(topic, kind, definition))
        self._at += 10**9
        self._writer.write(self._numbers[topic], data, self._at, self._at)

    def show(self, stamp: int, topic: str = '/image', frame: str = 'front') -> None:
        """Add a grey image, as bright as its stamp."""
        self.add(topic, Image(
            header=header(stamp, frame), height=HEIGHT, width=WIDTH, encoding='rgb8',
            step=3 * WIDTH, data=bytes([stamp]) * (3 * WIDTH * HEIGHT)))

    def answer(self, name: str, stamp: int, topic: str = '/detections', frame: str = 'front',
               boxes: tuple[tuple[float, ...], ...] = (BOX,), **outcome: Any) -> None:
        """Add a result; there is one cup in it unless told otherwise."""
        outcome = {'instruction_id': name, 'instruction_text': f'text of {name}', 'task': 1,
                   'is_final': True, 'image_width': WIDTH, 'image_height': HEIGHT, **outcome}
        corners = 'x_min', 'y_min', 'x_max', 'y_max'
        self.add(topic, DetectionArray(
            header=header(stamp, frame), outcome=Outcome(**outcome), count=len(boxes),
            detections=[DetectionMsg(index=index, label='cup', **dict(zip(
                corners, box, strict=True))) for index, box in enumerate(boxes)]))


def header(stamp: int, frame: str) -> Header:
    return Header(stamp=Time(sec=stamp), frame_id=frame)
