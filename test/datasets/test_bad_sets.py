"""Sets with all that can be wrong in them: named, skipped, and nothing else lost."""
from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mini_sets
import pytest
from oracle import Oracle
from test_datasets import Rows
from test_original_sets import write_cvat, write_reasonseg, write_refs
from test_public_sets import COUNTBENCH, PIXMO, ROWS

from vr_ros.datasets.columns import Columns
from vr_ros.datasets.known import find_known
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError, SampleError
from vr_ros.evaluation import cli
from vr_ros.evaluation.commands import dataset
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.runs import summary
from vr_ros.evaluation.runs.runner import Job


def test_a_table_with_everything_wrong_counts_what_is_right(tmp_path):
    """Images of mixed sizes all count; what is wrong with the others is told, row by row."""
    pytest.importorskip('pyarrow')
    rows = mini_sets.reasonseg_rows()
    sizes = {(row['img_width'], row['img_height']) for row in rows}
    image, mask = rows[0]['image']['bytes'], rows[0]['mask']
    bad = [
        ({'image': {'bytes': image[:2000], 'path': None}}, 'broken image'),
        ({'image': {'bytes': b'', 'path': None}}, 'broken image'),
        ({'image': None}, 'broken image: there is none'),
        ({'mask': [[float('nan')] * len(row) for row in mask]}, 'NaN'),
        ({'mask': mask[1:]}, 'a mask of 320x239 for an image of 320x240'),
        ({'mask': [*mask[1:], mask[0][:-1]]}, 'broken mask'),
        ({'img_width': 7}, 'stated to be 7x240'),
        ({'text': None}, 'the text is None'),
        ({'mask': None}, 'says nothing true'),
    ]
    # Numbers, because a column of booleans cannot hold NaN.
    table = [row | {'mask': row['mask'] and [list(map(float, line)) for line in row['mask']]}
             for row in [*rows, *(rows[0] | change for change, _ in bad)]]
    mini_sets.write_parquet(tmp_path / 'set', table)
    options = cli.parser().parse_args(
        ['dataset', str(tmp_path / 'set'), '--json', str(tmp_path / 'out.json')])
    open_ = partial(open_data_set, str(tmp_path / 'set'))
    job = Job(Oracle(open_), open_)
    with pytest.MonkeyPatch.context() as patch:   # few draws: intervals are tested elsewhere
        patch.setattr(summary, 'figures', partial(figures, rounds=20))
        assert dataset.run(options, job) == 1
    content = json.loads((tmp_path / 'out.json').read_text())
    reasons = {entry['id']: entry['reason'] for entry in content['skipped']}
    assert content['answered'] == len(rows) and len(sizes) == 2
    assert list(reasons) == [str(len(rows) + place) for place in range(len(bad))]
    for (_, words), reason in zip(bad, reasons.values(), strict=True):
        assert words in reason
    assert {c['name']: c['value'] for c in content['claims']}['gIoU'] == 1.0


WRITERS: dict[str, tuple[Callable[[Path], Any], str, tuple[str, ...]]] = {
    'folder': (mini_sets.write_folder, '', ('val.jsonl',)),
    'coco': (mini_sets.write_coco, '', ('annotations/instances_val.json',)),
    'yolo': (mini_sets.write_yolo, 'val', (
        f'labels/val/{mini_sets.SCENES[0][0]}.txt', 'data.yaml')),
    'cvat': (write_cvat, '', ('annotations.xml',)),
    'refs': (write_refs, 'val', ('grefs(unc).json', 'instances.json')),
    'reasonseg': (write_reasonseg, '', ('one.json',)),
}


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('bad')
    for name, (write, _, _) in WRITERS.items():
        write(root / name)
    return root


@pytest.fixture
def changed(root) -> Any:
    """Give what changes a file of a set, which is as it was afterwards."""
    kept: dict[Path, bytes] = {}

    def change(name: str, file: str, data: bytes) -> Path:
        path = root / name / file
        kept.setdefault(path, path.read_bytes())
        path.write_bytes(data)
        return root / name
    yield change
    for path, data in kept.items():
        path.write_bytes(data)


def outcomes(path: Path, split: str) -> Counter[str]:
    """Read all of a set: anything but the two errors is a failure of the test."""
    counted: Counter[str] = Counter()
    try:
        data_set = open_data_set(str(path), split)
    except DataSetError as error:
        assert '\n' not in str(error) and len(str(error)) < 2000
        return Counter(['no set'])
    for place in range(len(data_set.ids)):
        try:
            data_set.load(place)
            counted['whole'] += 1
        except SampleError as error:
            assert '\n' not in str(error) and len(str(error)) < 2000
            counted['skipped'] += 1
    return counted


DEEP = b'[' * 100_000


@pytest.mark.parametrize(('name', 'file', 'data', 'words'), [
    ('coco', 'annotations/instances_val.json', DEEP, 'nested too deeply'),
    ('refs', 'instances.json', DEEP, 'nested too deeply'),
    ('refs', 'grefs(unc).json', b'', 'Expecting value'),
    ('yolo', 'data.yaml', b'names: [\xff]', 'UnicodeDecodeError'),
    ('yolo', 'data.yaml', b"names: ['a\nb: {", 'while'),               # several lines in one
    ('yolo', 'data.yaml', b'names: 3', 'TypeError'),
    ('yolo', 'data.yaml', b'names: !!python/object/apply:os.system [ls]', 'could not determine a'),
    ('cvat', 'annotations.xml', b'<?xml version="1.0" encoding="utf-z"?><a/>', 'unknown encoding'),
    ('folder', 'val.jsonl', b'\xff', "can't decode"),
    ('folder', 'val.jsonl', b'\n\n', 'no samples'),
])
def test_a_file_that_is_none_is_told_in_a_line(changed, name, file, data, words):
    path = changed(name, file, data)
    with pytest.raises(DataSetError, match=words) as error:
        open_data_set(str(path), WRITERS[name][1])
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(('change', 'words'), [
    ({'image': '/dev/zero'}, 'no image zero: not a file'),    # which never ends
    ({'image': 'pipe'}, 'no image pipe: not a file'),         # which waits for somebody to write
    ({'image': 'images'}, 'no image images: not a file'),
    ({'masks': ['/dev/zero']}, 'not a file'),
    ({'masks': ['pipe']}, 'not a file'),
    ({'masks': [{'size': [10**6, 10**6], 'counts': [10**12]}]}, '1000000x1000000 for an image'),
])
def test_what_is_no_file_is_not_waited_for(root, changed, change, words):
    if not (root / 'folder' / 'pipe').exists():
        os.mkfifo(root / 'folder' / 'pipe')
    lines = (root / 'folder' / 'val.jsonl').read_text().splitlines()
    good = next(line for line in map(json.loads, lines) if len(line.get('boxes', ())) == 1)
    text = '\n'.join(map(json.dumps, [good | change | {'id': 'bad'}, good]))
    data_set = open_data_set(str(changed('folder', 'val.jsonl', text.encode())))
    with pytest.raises(SampleError, match=words):
        data_set.load(0)
    assert data_set.load(1).truth.count == 1


VALUES = (
    None, True, -1, 0, 1e18, float('nan'), float('inf'), 2**70, '', 'x', '\ud800', 'a\0b', [], {},
    [[]], [None], [1, 2, 3], [['a'] * 6], {'size': [1, 1], 'counts': [1]},
    {'size': [10**9, 10**9], 'counts': 'x'}, '/dev/zero', '../..')


def mutated(content: Any, rng: random.Random) -> Any:
    """Replace one value somewhere inside, or leave it out, or have it twice."""
    if isinstance(content, dict) and content:
        key = rng.choice(list(content))
        kept = {name: value for name, value in content.items() if name != key}
        how = rng.random()
        return kept if how < 0.15 else kept | {
            key: rng.choice(VALUES) if how < 0.4 else mutated(content[key], rng)}
    if isinstance(content, list) and content:
        place, how = rng.randrange(len(content)), rng.random()
        one = [] if how < 0.1 else [content[place]] * 2 if how < 0.2 else [
            rng.choice(VALUES) if how < 0.4 else mutated(content[place], rng)]
        return [*content[:place], *one, *content[place + 1:]]
    return rng.choice(VALUES)


def damaged(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """Alter a file as people, programs and disks do."""
    how = rng.random()
    if suffix == '.json' and how < 0.8:
        return json.dumps(mutated(json.loads(data), rng)).encode()
    if suffix == '.jsonl' and how < 0.8:
        lines = [json.loads(line) for line in data.splitlines()]
        place = rng.randrange(len(lines))
        lines[place] = mutated(lines[place], rng)
        return '\n'.join(map(json.dumps, lines)).encode()
    if how < 0.85:
        words = data.split(b' ')
        words[rng.randrange(len(words))] = rng.choice([b'nan', b'', b'9' * 30, b'[', b'"x"', b'-1'])
        return b' '.join(words)
    if how < 0.93:
        return data[:rng.randrange(len(data))]
    altered = bytearray(data)
    altered[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(altered)


@pytest.mark.parametrize('name', WRITERS)
def test_damage_anywhere_is_named(root, changed, name):
    _, split, files = WRITERS[name]
    whole = {file: (root / name / file).read_bytes() for file in files}
    seen: Counter[str] = Counter()
    for seed in range(40):
        rng = random.Random(f'{name} {seed}')
        file = rng.choice(files)
        seen += outcomes(changed(name, file, damaged(whole[file], Path(file).suffix, rng)), split)
        changed(name, file, whole[file])
    assert seen['whole'] > 5 and seen['skipped'] + seen['no set'] > 5, seen


def test_damage_in_any_column_is_named():
    """Sets of mathematics are left out: they need what is not always installed."""
    rows = {name: row for name, (row, *_) in ROWS.items() if not name.startswith('Math')} | {
        'pixmo-count': PIXMO, 'countbench': COUNTBENCH,
        'refcoco_val': mini_sets.refcoco_rows()[0]}
    odd = (*VALUES, b'x', {'bytes': b''}, {'bytes': 3}, '[' * 10_000, '[1,' * 500, "['a']", (1,))
    seen: Counter[str] = Counter()
    for seed in range(600):
        rng = random.Random(seed)
        name = rng.choice(sorted(rows))
        row = rows[name] | {rng.choice(sorted(rows[name])): rng.choice(odd)}
        try:
            Columns(Rows([row]), find_known(name.partition(',')[0])).load(0)
            seen['whole'] += 1
        except (DataSetError, SampleError) as error:
            seen['named'] += 1
            assert '\n' not in str(error) and len(str(error)) < 2000
    assert min(seen.values()) > 100, seen
