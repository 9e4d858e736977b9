"""Miniature data sets in the formats of the large ones, generated from the simulator.

``python test/datasets/mini_sets.py DIR`` writes them all, to try the evaluation on.
"""
from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vr_ros.core.rle import rle_to_mask, rle_union
from vr_ros.core.types import Mask, Size, Task
from vr_ros.evaluation.runs.sample_json import mask_to_json
from vr_ros.sim.instructions import SimInstruction, generate
from vr_ros.sim.renderer import Frame, render_scene
from vr_ros.sim.truth import KINDS, ObjectTruth

# Of mixed sizes, as real ones are.
SCENES = ((1_000_003, Size(320, 240)), (1_000_004, Size(256, 288)))


@dataclass(frozen=True)
class Question:
    """One instruction about one frame, and the objects that it asks for."""

    frame: Frame
    instruction: SimInstruction

    @property
    def image_id(self) -> int:
        return self.frame.truth.seed

    @property
    def size(self) -> Size:
        return self.frame.truth.size

    @property
    def wanted(self) -> list[ObjectTruth]:
        return [o for o in self.frame.truth.objects if o.id in self.instruction.target_ids]

    @property
    def region(self) -> Mask:
        empty = Mask(self.size, (self.size.width * self.size.height,))
        return rle_union([empty, *(o.mask for o in self.wanted)])


@cache
def frames() -> tuple[Frame, ...]:
    """Render the scenes, once per process."""
    return tuple(render_scene(seed, size) for seed, size in SCENES)


@cache
def questions(*templates: str) -> tuple[Question, ...]:
    """Ask one question of each template about each frame."""
    rng = np.random.default_rng(4711)
    return tuple(Question(frame, generate(frame.truth, rng, 'heldout', template))
                 for frame in frames() for template in templates)


def png(rgb: np.ndarray) -> bytes:
    """Encode a picture without loss."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, 'png')
    return file.getvalue()


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in frames():
        (folder / f'{frame.truth.seed}.png').write_bytes(png(frame.rgb))


def folder_questions() -> tuple[Question, ...]:
    return questions('detect_all', 'segment_one', 'count_all', 'vqa_colour', 'detect_one')


def write_folder(root: Path) -> None:
    """Write images and JSON lines; masks as run lengths and as pictures."""
    write_images(root / 'images')
    lines = []
    for number, question in enumerate(folder_questions()):
        wanted, task = question.wanted, question.instruction.task
        line: dict[str, Any] = {
            'id': f'q{number}', 'image': f'images/{question.image_id}.png',
            'instruction': question.instruction.text, 'task': task.name.lower()}
        if task is Task.VQA:
            line['answers'] = [question.instruction.answer]
        elif not wanted:
            line['absent'] = True
        else:
            line |= {'boxes': [o.box for o in wanted], 'masks': [
                _mask(o.mask, root, f'masks/{number}_{o.id}.png') for o in wanted]}
        lines.append(json.dumps(line))
    (root / 'val.jsonl').write_text('\n'.join(lines) + '\n')


def _mask(mask: Mask, root: Path, name: str) -> dict[str, Any] | str:
    if name.endswith('0.png'):
        return mask_to_json(mask)
    (root / name).parent.mkdir(exist_ok=True)
    Image.fromarray(rle_to_mask(mask)).save(root / name)
    return name


def row(question: Question) -> dict[str, Any]:
    """Give what all sets of VisionReasoner have in a row."""
    return {
        'image': {'bytes': png(question.frame.rgb), 'path': None},
        'text': question.instruction.text, 'image_id': str(question.image_id), 'ann_id': '1',
        'img_height': question.size.height, 'img_width': question.size.width,
    }


def refcoco_rows() -> list[dict[str, Any]]:
    return [row(q) | {'mask': rle_to_mask(q.region).tolist(),
                      'bbox': [int(x) for x in q.wanted[0].box]}
            for q in refcoco_questions()]


def refcoco_questions() -> list[Question]:
    return [q for q in questions('segment_one', 'detect_one') if len(q.wanted) == 1]


def reasonseg_questions() -> tuple[Question, ...]:
    return questions('segment_function', 'segment_all')


def reasonseg_rows() -> list[dict[str, Any]]:
    return [row(q) | {'mask': rle_to_mask(q.region).tolist()} for q in reasonseg_questions()]


def count_questions() -> tuple[Question, ...]:
    return questions('count_all', 'count_function')


def count_rows() -> list[dict[str, Any]]:
    return [row(q) | {'count': len(q.wanted)} for q in count_questions()]


def write_parquet(root: Path, rows: Sequence[dict[str, Any]], split: str = 'test') -> None:
    """Write rows in two shards, named as the hub names them."""
    import pyarrow
    from pyarrow import parquet

    (root / 'data').mkdir(parents=True)
    half = (len(rows) + 1) // 2
    for shard, part in enumerate((rows[:half], rows[half:])):
        parquet.write_table(
            pyarrow.Table.from_pylist(list(part)),
            root / 'data' / f'{split}-{shard:05d}-of-00002.parquet', row_group_size=1)


def kinds(frame: Frame) -> list[tuple[str, list[ObjectTruth]]]:
    """Group the objects of a frame by their kind, in the order of the categories."""
    groups = [(kind, [o for o in frame.truth.objects if o.kind == kind]) for kind in KINDS]
    return [(kind, objects) for kind, objects in groups if objects]


def write_coco(root: Path) -> None:
    """Write COCO's JSON; the last object of each frame stands for a crowd."""
    write_images(root / 'images')
    annotations = []
    for frame in frames():
        for o in frame.truth.objects:
            x_min, y_min, x_max, y_max = o.box
            annotations.append({
                'id': len(annotations), 'image_id': frame.truth.seed,
                'category_id': KINDS.index(o.kind), 'segmentation': mask_to_json(o.mask),
                'bbox': [x_min, y_min, x_max - x_min, y_max - y_min],
                'area': sum(o.mask.counts[1::2]), 'iscrowd': int(o is frame.truth.objects[-1])})
    (root / 'annotations').mkdir()
    (root / 'annotations' / 'instances_val.json').write_text(json.dumps({
        'images': [{'id': f.truth.seed, 'file_name': f'{f.truth.seed}.png',
                    'width': f.truth.size.width, 'height': f.truth.size.height} for f in frames()],
        'annotations': annotations,
        'categories': [{'id': number, 'name': kind} for number, kind in enumerate(KINDS)]}))


def write_yolo(root: Path) -> None:
    """Write YOLO's labels, all of them boxes."""
    write_images(root / 'images' / 'val')
    (root / 'labels' / 'val').mkdir(parents=True)
    (root / 'data.yaml').write_text(f'names: {list(KINDS)}\n')
    for frame in frames():
        scale = np.tile([frame.truth.size.width, frame.truth.size.height], 2)
        lines = []
        for o in frame.truth.objects:
            x_min, y_min, x_max, y_max = np.array(o.box) / scale
            centre = (x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min
            lines.append(f'{KINDS.index(o.kind)} ' + ' '.join(f'{x:.9f}' for x in centre))
        (root / 'labels' / 'val' / f'{frame.truth.seed}.txt').write_text('\n'.join(lines))


SETS: dict[str, Callable[[Path], None]] = {
    'folder': write_folder,
    'refcoco_val': lambda root: write_parquet(root, refcoco_rows()),
    'ReasonSeg_val': lambda root: write_parquet(root, reasonseg_rows()),
    'counting_pixmo_test': lambda root: write_parquet(root, count_rows()),
    'coco': write_coco,
    'yolo': write_yolo,
}

if __name__ == '__main__':
    for name, write in SETS.items():
        write(Path(sys.argv[1]) / name)
