"""A run of two minutes that shows that training works on this machine: few prompts, large steps."""
from __future__ import annotations

import argparse
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vr_ros.core.types import Size, Task
from vr_ros.sim.instructions import NoInstructionError, generate
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.sim_targets import answer_list, model_objects

# Scenes of the training's seeds; what stands in them is often partly hidden.
FIRST_SEED = 70_000
SCENES = 4
TEMPLATES = ('detect_all', 'count_all', 'detect_relation')
SETTINGS = {
    'steps': 16, 'prompts': 6, 'group': 8, 'learning_rate': 1e-4, 'beta': 0.0, 'eval_steps': 4,
    'held_out_rows': 8, 'picture_steps': 8, 'max_completion': 160, 'device': 'cpu',
}
_CAMERA, _STORED = Size(640, 480), Size(168, 168)
log = logging.getLogger(__name__)


def prepare(options: argparse.Namespace) -> None:
    """Render a small data set, and set the options to a run that shows something in two minutes."""
    for name, value in SETTINGS.items():
        setattr(options, name, value)
    folder = options.out / 'data'
    if not (folder / 'val-00000-of-00001.parquet').is_file():
        log.info('rendering %d scenes', 2 * SCENES)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, 'train', range(FIRST_SEED, FIRST_SEED + SCENES))
        write(folder, 'val', range(FIRST_SEED + SCENES, FIRST_SEED + 2 * SCENES))
    options.data = [folder]


def write(folder: Path, split: str, seeds: range) -> None:
    """Write the rows of some scenes as one file of a data set."""
    rows = [row for seed in seeds for row in _rows(seed, split)]
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), folder / f'{split}-00000-of-00001.parquet')


_SCHEMA = pa.schema([
    ('id', pa.string()), ('data_source', pa.string()), ('ability', pa.string()),
    ('split', pa.string()),
    ('image', pa.struct([('bytes', pa.binary()), ('path', pa.string())])),
    ('width', pa.int32()), ('height', pa.int32()), ('problem', pa.string()), ('task', pa.string()),
    ('reward_spec', pa.string()), ('masks', pa.string()), ('progress', pa.float32()),
    ('extra', pa.string())])


def _rows(seed: int, split: str) -> list[dict[str, Any]]:
    # Not before: they bring the renderer.
    from vr_ros.models.preprocess import resize_image
    from vr_ros.sim.renderer import TableCamera
    from vr_ros.sim.scene import sample_scene
    from vr_ros.sim.world import World

    with TableCamera(World(sample_scene(seed)), size=_CAMERA) as camera:
        frame = camera.render(None)
    pixels = resize_image(frame.rgb, _STORED).byte().permute(1, 2, 0).numpy()
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, 'PNG')
    objects = model_objects(frame.truth.targets, frame.truth.size, _STORED)
    rng = np.random.default_rng(seed)
    rows = []
    for template in TEMPLATES:
        try:
            asked = generate(frame.truth, rng, 'train', template)
        except NoInstructionError:
            continue
        truth = answer_list([one for one in objects if one.truth.id in asked.target_ids])
        name, source = f'{seed}_{template}', f'sim_{Task(asked.task).name.lower()}'
        rows.append({
            'id': name, 'data_source': source, 'ability': source.removeprefix('sim_'),
            'split': split, 'image': {'bytes': stored.getvalue(), 'path': None},
            'width': _STORED.width, 'height': _STORED.height, 'problem': asked.text,
            'task': asked.task.name.lower(), 'masks': None, 'progress': None, 'extra': '{}',
            'reward_spec': Sample('visionreasoner', truth, source, name).to_json()})
    return rows
