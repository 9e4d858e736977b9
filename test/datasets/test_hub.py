"""Data sets straight from a hub, which is on this machine here and speaks as the real one does.

The client is a program of its own: whether it may go online is settled when it is imported.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mini_sets
import pytest
from mini_hub import COMMIT, MiniHub, serving

from vr_ros.datasets.hub import is_hub_name
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError

parquet = pytest.importorskip('pyarrow.parquet', reason='pip install vr_ros[eval]')
pytest.importorskip('huggingface_hub', reason='comes with transformers')

# More than the client reads ahead, so that a row group that nobody wants is not fetched.
PADDING_BYTES = 8_000_000
CLIENT = """
import json, sys
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError, SampleError
for line in sys.stdin:
    name, split, places = json.loads(line)
    try:
        data_set = open_data_set(name, split)
    except DataSetError as error:
        print(json.dumps({'error': str(error)}), flush=True)
        continue
    rows = []
    for place in places:
        try:
            sample = data_set.load(place)
            rows.append([sample.instruction, sample.truth.count, int(sample.image.sum())])
        except SampleError as error:
            rows.append(str(error))
    print(json.dumps({'name': data_set.name, 'ids': data_set.ids, 'rows': rows}), flush=True)
"""


class Client:
    """Opens data sets in a process of its own."""

    def __init__(self, url: str, home: Path, offline: str = '0') -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-c', CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | {
                'PYTHONPATH': ':'.join(sys.path), 'HF_ENDPOINT': url, 'HF_HOME': str(home),
                'HF_HUB_OFFLINE': offline, 'HF_HUB_DISABLE_TELEMETRY': '1'})

    def open(self, name: str, split: str = '', places: tuple[int, ...] = ()) -> dict:
        """:return: name, ids and rows of the data set, or the error."""
        print(json.dumps([name, split, places]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def write_padded(root: Path) -> None:
    """Write rows that are large enough for what is read ahead to end between them."""
    import pyarrow

    rows = [row | {'padding': os.urandom(PADDING_BYTES)} for row in mini_sets.count_rows()[:4]]
    (root / 'data').mkdir(parents=True)
    parquet.write_table(
        pyarrow.Table.from_pylist(rows), root / 'data' / 'test-00000-of-00001.parquet',
        row_group_size=1, compression='none')


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('hub')
    write_padded(root / 'padded')
    mini_sets.write_parquet(root / 'count', mini_sets.count_rows())
    (root / 'pictures').mkdir()
    (root / 'pictures' / 'README.md').write_text('no tables')
    (root / 'converted' / 'default').mkdir(parents=True)
    mini_sets.write_parquet(root / 'half', mini_sets.count_rows(), 'test')
    (root / 'half' / 'data' / 'test-00000-of-00002.parquet').rename(
        root / 'converted' / 'default' / 'test.parquet')
    return root


@pytest.fixture(scope='module')
def hub(root) -> Iterator[MiniHub]:
    with serving({
            'a/padded@main': root / 'padded', 'Ricky06662/counting_pixmo_test@main': root / 'count',
            'a/pictures@main': root / 'pictures', 'a/none@main': root / 'pictures',
            'a/pictures@refs/convert/parquet': root / 'converted', 'a/half@main': root / 'half',
    }) as hub:
        yield hub


@pytest.fixture(scope='module')
def client(hub, tmp_path_factory) -> Iterator[Client]:
    client = Client(hub.url, tmp_path_factory.mktemp('home'))
    yield client
    client.close()


def expected(rows: list[dict], *places: int) -> list[list]:
    questions = mini_sets.count_questions()
    return [[rows[i]['text'], rows[i]['count'], int(questions[i].frame.rgb.sum())] for i in places]


def test_rows_come_as_from_files_and_only_those_that_are_asked_for(client, hub, root):
    size = (root / 'padded' / 'data' / 'test-00000-of-00001.parquet').stat().st_size
    found = client.open('a/padded', places=(2,))
    assert found['ids'] == ['0', '1', '2', '3']
    assert found['rows'] == expected(mini_sets.count_rows(), 2)
    assert 0 < sum(hub.fetched.values()) < 0.7 * size
    assert client.open('a/padded', places=(3, 0))['rows'] == expected(mini_sets.count_rows(), 3, 0)


def test_a_known_name_is_looked_for_where_it_is(client):
    """Its name holds the commit, so that a run goes on with the same rows or not at all."""
    found = client.open('counting_pixmo_test', places=(0, 3))
    assert found['name'].startswith(f'Ricky06662/counting_pixmo_test@{1:08d}{COMMIT[8:12]}')
    assert found['rows'] == expected(mini_sets.count_rows(), 0, 3)
    assert client.open('counting_pixmo_test')['name'] == found['name']


def test_what_is_no_parquet_is_taken_from_the_copy_of_the_hub(client):
    found = client.open('a/pictures', 'test', (1,))
    assert found['rows'] == expected(mini_sets.count_rows(), 1)


@pytest.mark.parametrize(('name', 'words'), [
    ('a/none', 'a/none cannot be opened on the hub: '),         # no tables, nor a copy of it
    ('a/nothing', 'a/nothing cannot be opened on the hub: RepositoryNotFound'),
    ('a/padded@v9', 'a/padded@v9 cannot be opened on the hub: '),
    ('a/half', 'a/half: 1 of 2 shards, missing: 0'),
])
def test_what_is_not_there_is_told_in_a_line(client, name, words):
    error = client.open(name)['error']
    assert error.startswith(words) and '\n' not in error


def test_rows_that_cannot_be_read_are_named_and_the_others_load(client, root):
    path = root / 'count' / 'data' / 'test-00001-of-00002.parquet'
    whole = path.read_bytes()
    # The end, which tells where the rows are, stays.
    path.write_bytes(b'PAR1' + bytes(len(whole) - 30_004) + whole[-30_000:])
    try:
        rows = client.open('counting_pixmo_test', places=(0, 3))['rows']
    finally:
        path.write_bytes(whole)
    assert rows[0] == expected(mini_sets.count_rows(), 0)[0]
    assert rows[1].startswith(f'data/{path.name}: damaged: cannot be fetched: ')


def test_nothing_is_fetched_unasked(monkeypatch):
    """Unset counts as forbidden: many gigabytes are not fetched unasked."""
    for value in ('1', ''):
        monkeypatch.setenv('HF_HUB_OFFLINE', value)
        with pytest.raises(DataSetError, match=(
                'someone/a-set is not on this machine: run "hf download someone/a-set --repo-type'
                ' dataset --local-dir a-set", or set HF_HUB_OFFLINE=0 and its rows are fetched')):
            open_data_set('someone/a-set')
    with pytest.raises(DataSetError, match='hf download Ricky06662/ReasonSeg_test --repo-type'):
        open_data_set('ReasonSeg_test')


def test_what_lies_in_the_cache_of_the_hub_is_found_without_it(root, tmp_path):
    cached = tmp_path / 'hub' / 'datasets--a--count'
    (cached / 'refs').mkdir(parents=True)
    (cached / 'refs' / 'main').write_text(COMMIT)
    (cached / 'snapshots').mkdir()
    (cached / 'snapshots' / COMMIT).symlink_to(root / 'count')
    client = Client('http://127.0.0.1:9', tmp_path, offline='1')
    found = client.open('a/count', places=(2,))
    client.close()
    assert found['rows'] == expected(mini_sets.count_rows(), 2)


@pytest.mark.parametrize(('name', 'is_name'), [
    ('owner/name', True), ('owner/na.me-2@refs/convert/parquet', True), ('name', False),
    ('a/b/c', False), ('../a', False), ('/a', False), ('./a', False), ('a/', False),
    ('a/b c', False),
])
def test_names_of_the_hub(name, is_name):
    assert is_hub_name(name) is is_name
