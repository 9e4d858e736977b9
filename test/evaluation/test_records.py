"""Records survive what kills a run, and say no to what would mix runs up."""
from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Size, Status, Task
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.panel import strict_measures
from vr_ros.evaluation.runs.records import (
    Header,
    Record,
    RecordsError,
    RecordsFile,
    digest_ids,
    read_records,
)
from vr_ros.evaluation.runs.sample_json import (
    found_from_json,
    found_to_json,
    truth_from_json,
    truth_to_json,
)

HEADER = Header('sim_tiny', 'mini', 3, digest_ids(['a', 'b', 'c']), {'split': 'val', 'limit': None})
MASK = mask_to_rle(np.array([[0, 1, 1], [0, 0, 1]]))
TRUTHS = [
    Truth('i', Size(3, 2), 'cup', [[1, 0, 3, 2]], (MASK,), areas_px=[3], answers=('1', 'one')),
    Truth('i', Size(3, 2), boxes=[], masks=()),
    Truth(region=MASK, ignore=MASK),
    Truth(count=3, boxes=[[0, 0, 1, 1]], crowd=[True]),
    Truth(answers=('ä\ud800',)),
    Truth(answers=('B', 'two'), choices=('one', 'two'), rule='choice accuracy'),
    Truth(boxes=[[0, 0, 1, 1]], task=Task.COUNTING, labels=('ä',)),
]
FOUND = [
    Found(boxes=[[0.1, 0, 3, 2]], masks=(MASK,), scores=[0.25], latency_ms=12.5, answer='a',
          reasoning='b', raw_text='<think>\n\u2028'),
    Found(boxes=[[1, 0, 2, 2], [0, 0, 1, 1]], masks=(None, MASK), scores=[np.nan, 0.5]),
    Found(Status.NO_OBJECT),
    Found(Status.TIMEOUT),
    Found(count=7),
]


def answered(sample_id: str) -> Record:
    return Record(sample_id, TRUTHS[0], FOUND[0], 'where?', 'DETECTION')


def skipped(sample_id: str, reason: str = 'broken image') -> Record:
    return Record(sample_id, skipped=reason)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'deep' / 'records.jsonl'


@pytest.mark.parametrize('truth', TRUTHS)
def test_a_truth_comes_back(truth):
    content = truth_to_json(truth)
    assert truth_to_json(truth_from_json(json.loads(json.dumps(content)))) == content
    back = truth_from_json(content)
    assert (back.choices, back.rule, back.task, back.labels) == (
        truth.choices, truth.rule, truth.task, truth.labels)
    assert (back.count, back.is_absent, back.true_region, back.answers) == (
        truth.count, truth.is_absent, truth.true_region, truth.answers)
    assert back.crowd.tolist() == truth.crowd.tolist()


@pytest.mark.parametrize('found', FOUND)
def test_what_was_found_comes_back(found):
    content = json.loads(json.dumps(found_to_json(found), allow_nan=False))
    back = found_from_json(content)
    assert found_to_json(back) == content
    assert (back.status, back.masks, back.count) == (found.status, found.masks, found.count)
    assert np.array_equal(back.scores, found.scores, equal_nan=True)


def test_figures_of_a_file_are_those_of_the_run(path):
    with RecordsFile(path, HEADER) as file:
        file.append([Record(f'{i}', t, f) for i, (t, f) in enumerate(
            zip(TRUTHS[:2] * 2, [*FOUND[:2], *FOUND[2:4]], strict=True))])
    read = read_records(path).answered
    assert figures(strict_measures([r.truth for r in read], [r.found for r in read])) == figures(
        strict_measures(TRUTHS[:2] * 2, [*FOUND[:2], *FOUND[2:4]]))


def test_a_run_goes_on_where_it_ended(path):
    with RecordsFile(path, HEADER) as file:
        file.append([answered('a'), skipped('b')])
    with RecordsFile(path, HEADER) as file:
        assert file.done == {'a'}
        file.append([answered('b'), skipped('c')])
        file.append([skipped('c')])               # the same again: nothing new
    run = read_records(path)
    assert [r.sample_id for r in run.answered] == ['a', 'b']   # a repaired sample counts
    assert [(r.sample_id, r.skipped) for r in run.skipped] == [('c', 'broken image')]
    assert run.missing == 0 and run.header == HEADER
    assert len(path.read_bytes().splitlines()) == 5


@pytest.mark.parametrize('cut', range(1, 400, 57))
def test_a_torn_last_line_is_dropped_and_done_again(path, cut):
    with RecordsFile(path, HEADER) as file:
        file.append([answered('a')])
        file.append([answered('b')])
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert [r.sample_id for r in read_records(path).answered] == ['a']
    with RecordsFile(path, HEADER) as file:
        assert file.done == {'a'}
        file.append([answered('b')])
    assert path.read_bytes() == content


@pytest.mark.parametrize('kept', [0, 1, 40])
def test_a_torn_header_is_written_again(path, kept):
    RecordsFile(path, HEADER).close()
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    RecordsFile(path, HEADER).close()
    assert path.read_bytes() == content


@pytest.mark.parametrize(('header', 'words'), [
    (Header('other', 'mini', 3, HEADER.digest, HEADER.options), "model: 'sim_tiny' then, 'other'"),
    (Header('sim_tiny', 'mini', 3, HEADER.digest, {'split': 'test', 'limit': None}), 'split'),
    (Header('sim_tiny', 'mini', 3, digest_ids(['a', 'b', 'd']), HEADER.options), 'digest'),
    (Header('sim_tiny', 'mini', 3, HEADER.digest, {**HEADER.options, 'new': 1}), 'new: None then'),
])
def test_another_run_is_refused_and_nothing_changes(path, header, words):
    with RecordsFile(path, HEADER) as file:
        file.append([answered('a')])
    content = path.read_bytes()
    with pytest.raises(RecordsError, match=words):
        RecordsFile(path, header)
    assert path.read_bytes() == content


@pytest.mark.parametrize('content', [b'my notes', b'my notes\n', b'{"a": 1}\n', b'\n', b'\xff\n'])
def test_a_file_of_something_else_stays_as_it_is(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(RecordsError, match='no file of records'):
        RecordsFile(path, HEADER)
    assert path.read_bytes() == content


def test_damage_in_the_middle_is_named_by_its_line(path):
    with RecordsFile(path, HEADER) as file:
        file.append([answered('a'), answered('b')])
    lines = path.read_bytes().split(b'\n')
    path.write_bytes(b'\n'.join([lines[0], lines[1][:30], *lines[2:]]))
    for use in (read_records, lambda p: RecordsFile(p, HEADER)):
        with pytest.raises(RecordsError, match='line 2'):
            use(path)


def test_nothing_counts_twice(path):
    with RecordsFile(path, HEADER) as file:
        file.append([answered('a')])
        for record in (answered('a'), skipped('a')):
            with pytest.raises(ValueError, match='answered before'):
                file.append([record])
    content = path.read_bytes()
    path.write_bytes(content + content.splitlines(keepends=True)[-1])
    with pytest.raises(RecordsError, match='twice'):
        read_records(path)


def test_only_one_run_writes(path):
    with RecordsFile(path, HEADER):
        with pytest.raises(RecordsError, match='another run'):
            RecordsFile(path, HEADER)
    RecordsFile(path, HEADER).close()


WRITER = """
import sys
from pathlib import Path
from test_records import HEADER, answered
from vr_ros.evaluation.runs.records import RecordsFile
with RecordsFile(Path(sys.argv[1]), HEADER) as file:
    number = len(file.done)
    while True:
        file.append([answered(str(number))])
        print(number, flush=True)
        number += 1
"""


def test_sigkill_costs_nothing_that_was_done(path):
    """Kills in the middle of writing: what was reported done is there, once, in order."""
    reported = -1
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, '-c', WRITER, str(path)], stdout=subprocess.PIPE, text=True,
            env={'PYTHONPATH': ':'.join(sys.path)})
        for _ in range(20):
            reported = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        reported = max([reported, *map(int, writer.stdout.read().split())])
        writer.stdout.close()
        ids = [int(record.sample_id) for record in read_records(path).answered]
        assert ids == list(range(len(ids)))
        assert reported < len(ids) <= reported + 2
