"""Rows of training data for tests: the columns of the data builders, small images."""
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from vr_ros.core.types import Size
from vr_ros.training.rewards.samples import Sample

SIZE = Size(840, 840)
BOX = {'bbox_2d': [100, 100, 200, 200], 'point_2d': [150, 150]}
RIGHT = ('<think>It is there.</think><answer>[{"bbox_2d": [100, 100, 200, 200], '
         '"point_2d": [150, 150]}]</answer>')
NOTHING = '<think>There is none.</think><answer>[]</answer>'
SCHEMA = pa.schema([
    *((name, pa.string()) for name in ('id', 'data_source', 'ability', 'split')),
    ('image', pa.struct([('bytes', pa.binary()), ('path', pa.string())])),
    ('width', pa.int32()), ('height', pa.int32()),
    *((name, pa.string()) for name in ('problem', 'task', 'reward_spec', 'masks')),
    ('progress', pa.float64()), ('extra', pa.string()),
])


def png(size: Size, shade: int = 0) -> bytes:
    """Draw an image of one colour."""
    file = io.BytesIO()
    Image.fromarray(np.full((size.height, size.width, 3), shade, np.uint8)).save(file, 'PNG')
    return file.getvalue()


def row(number: int = 0, size: Size = SIZE, **changes: Any) -> dict[str, Any]:
    """Make a row that asks for one object; :param changes: columns that are different."""
    id = f'row-{number}'
    sample = Sample('visionreasoner', json.dumps([BOX]), 'lvis', id)
    return {
        'id': id, 'data_source': 'lvis', 'ability': 'detection', 'split': 'train',
        'image': {'bytes': png(size, number % 256), 'path': f'{number}.png'},
        'width': size.width, 'height': size.height, 'problem': f'Cup number {number}.',
        'task': 'detection', 'reward_spec': sample.to_json(), 'masks': None, 'progress': None,
        'extra': '{}',
    } | changes


def text_row(number: int = 0) -> dict[str, Any]:
    """Make a row without an image."""
    sample = Sample('numeric', '12', 'puzzles', f'text-{number}')
    return row(number, id=f'text-{number}', data_source='puzzles', ability='math', task='vqa',
               image={'bytes': None, 'path': None}, width=0, height=0, problem='What is 3 x 4?',
               reward_spec=sample.to_json())


def write_rows(folder: Path, rows: list[dict[str, Any]], split: str = 'train', files: int = 1
               ) -> Path:
    """Write rows to as many files; :return: the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, part in enumerate(np.array_split(np.arange(len(rows)), files)):
        table = pa.Table.from_pylist([rows[place] for place in part], SCHEMA)
        parquet.write_table(table, folder / f'{split}-{index:05d}-of-{files:05d}.parquet')
    return folder
