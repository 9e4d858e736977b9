"""Writes the frames of a bag that were asked about, to be annotated, in CVAT for one."""
from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vr_ros.bags.files import BagError
from vr_ros.bags.questions import Questions
from vr_ros.core.types import PerceptionError

IMAGES, QUESTIONS, LABELS = 'images', 'questions.jsonl', 'labels.json'


class Exported(NamedTuple):
    """How many frames were written, and why others were not."""

    frames: int
    problems: list[str]


def export_images(questions: Questions, out: Path) -> Exported:
    """Write each frame once, as PNG, so that pixels stay as they are.

    ``images/`` holds the frames by their names, which annotations come back by; ``labels.json`` one
    label per instruction, as CVAT takes them; ``questions.jsonl`` the questions in the form of a
    data set, whose truth is to be filled in by hand.

    :param out: folder to make.
    :raises BagError: it was written before: what was filled in there would be lost.
    :raises OSError: it cannot be written.
    """
    if (out / QUESTIONS).exists():
        raise BagError(f'{out / QUESTIONS} exists: name another folder with --export-images')
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    written: dict[str, bool] = {}
    problems, lines, texts = list[str](), list[str](), dict[str, None]()
    for item in questions.items:
        if item.picture is None or not item.has_own_picture:
            problems.append(f'{item.id}: its image is not in the bag')
            continue
        name = item.picture.name
        if name not in written:
            try:
                pixels = questions.decode(item.picture)
            except PerceptionError as error:
                problems.append(f'{name}: {error.message}')
                written[name] = False
                continue
            Image.fromarray(pixels).save(out / IMAGES / f'{name}.png')
            written[name] = True
        if written[name]:
            texts[item.text] = None
            lines.append(json.dumps({
                'id': item.id, 'image': f'{IMAGES}/{name}.png', 'instruction': item.text,
                'task': item.task.name.lower()}, ensure_ascii=False))
    labels = [{'name': text, 'attributes': []} for text in texts]
    (out / LABELS).write_text(json.dumps(labels, indent=1, ensure_ascii=False) + '\n')
    (out / QUESTIONS).write_text(''.join(f'{line}\n' for line in lines))
    return Exported(sum(written.values()), problems)
