"""Miniature sets as their authors give them for training, out of the simulator's frames."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import mini_sets
import pyarrow
from pyarrow import parquet

from vr_ros.sim.truth import KINDS


def write_refs(root: Path, name: str = 'refs(umd).json') -> list[dict[str, Any]]:
    """Write RefCOCOg's or gRefCOCO's expressions beside COCO's instances, split train.

    All of the second frame, with two sentences each: its first two objects, and in gRefCOCO both
    together and nothing.
    """
    mini_sets.write_coco(root)
    (root / 'annotations' / 'instances_val.json').rename(root / 'instances.json')
    content = json.loads((root / 'instances.json').read_text())
    for annotation in content['annotations']:
        annotation['iscrowd'] = 0
    (root / 'instances.json').write_text(json.dumps(content))
    frame, first = mini_sets.frames()[1].truth, len(mini_sets.frames()[0].truth.objects)
    wanted = ([[first], [first + 1], [first, first + 1], [-1]] if name.startswith('g')
              else [first, first + 1])
    refs = [{
        'ref_id': number, 'image_id': frame.seed, 'split': 'train', 'ann_id': ids,
        'sentences': [{'sent_id': 10 * number + i, 'raw': f'The {number}{end}', 'sent': text}
                      for i, (end, text) in enumerate((('.', f'the {number}'),
                                                       ('?', f'other {number}')))],
    } for number, ids in enumerate(wanted)]
    (root / name).write_text(json.dumps(refs))
    return refs


def write_lvis(root: Path) -> tuple[int, int]:
    """Write LVIS's JSON: no file names, and on the first image a category known to be absent.

    :return: ids of the absent category and of one that is not marked throughout.
    """
    mini_sets.write_coco(root)
    path = root / 'annotations' / 'instances_val.json'
    content = json.loads(path.read_text())
    for image in content['images']:
        image |= {'neg_category_ids': [], 'not_exhaustive_category_ids': [],
                  'coco_url': f'http://images.cocodataset.org/train2017/{image.pop("file_name")}'}
    (root / 'images').rename(root / 'train2017')
    first = content['images'][0]
    there = {a['category_id'] for a in content['annotations'] if a['image_id'] == first['id']}
    absent = next(i for i in range(len(KINDS)) if i not in there)
    first |= {'neg_category_ids': [absent], 'not_exhaustive_category_ids': [min(there)]}
    for annotation in content['annotations']:
        del annotation['iscrowd']
    (root / 'annotations' / 'lvis_v1_train.json').write_text(json.dumps(content))
    path.unlink()
    return absent, min(there)


def write_lisa_plus(root: Path) -> list[dict[str, Any]]:
    """Write LISA++'s questions, and COCO's instances that they point to, images in train2017."""
    mini_sets.write_coco(root)
    (root / 'images').rename(root / 'train2017')
    (root / 'annotations' / 'instances_val.json').rename(
        root / 'annotations' / 'instances_train2017.json')
    other, frame = (f.truth for f in mini_sets.frames())
    name, first = f'{frame.seed}.png', len(other.objects)
    labels = {str(i): {'label name': o.kind, 'points': []}
              for i, o in enumerate(frame.objects, first)}
    ids = [str(first), str(first + 1)]
    entries = [
        {'img_path': name, 'English Question': 'What can be filled?', 'ID': [*ids, ids[0]],
         'English Answer': 'These.', 'points': labels},
        {'img_path': f'train2017/{name}', 'English Question': 'And this?', 'ID': [first + 1]},
        {'img_path': name, 'English Question': 'Of another image?', 'ID': ['0']},
        {'img_path': name, 'English Question': 'Nothing?', 'ID': []},
        {'img_path': f'{other.seed}0.png', 'English Question': 'Where?', 'ID': ids},
        {'img_path': name, 'ID': ids},
    ]
    (root / 'data.json').write_text(json.dumps(entries))
    return entries


def write_table(root: Path, rows: list[dict[str, Any]], split: str = 'train') -> Path:
    """Write rows as one Parquet file, as the hub names it."""
    (root / 'data').mkdir(parents=True)
    path = root / 'data' / f'{split}-00000-of-00001.parquet'
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def picture(number: int = 0) -> dict[str, Any]:
    """Give a frame as a cell of a table."""
    return {'bytes': mini_sets.png(mini_sets.frames()[number].rgb), 'path': None}


def write_pixmo(root: Path) -> None:
    """Write PixMo-Count's rows: links, points in pixels; the second has one point too few."""
    data = picture()['bytes']
    sha = hashlib.sha256(data).hexdigest()
    (root / 'images').mkdir(parents=True)
    (root / 'images' / f'{sha}.png').write_bytes(data)
    row = {'image_url': 'https://example.org/1.png', 'image_sha256': sha, 'count': 2,
           'points': {'x': [32.0, 160.0], 'y': [24.0, 120.0]}, 'label': 'cups'}
    write_table(root, [row, row | {'points': {'x': [32.0], 'y': [24.0]}}])
