"""Bags that were cut off or damaged, and what is read of them."""
from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_checks import check
from rosbags.rosbag2 import Reader
from test_bag_writer import TOPICS, fill

from vr_ros.nodes.bags.recovery import RecoveryError, recover
from vr_ros.nodes.bags.writer import BagWriter

PARTS = 6


def cut_off(path: Path, **options: int) -> tuple[list[tuple[str, int, bytes]], list[int]]:
    """Write a bag that is never closed.

    :return: what was written, and how large its file was after each of the flushes.
    """
    bag = BagWriter(path, 'jazzy', **options)
    written, sizes = fill(bag, 100), []
    bag.flush()
    numbers = {name: number for number, name in enumerate(TOPICS, 1)}
    for part in range(PARTS):
        for index in range(10):
            topic, at, data = written[index]
            at += (part + 1) * 10**9
            bag.write(numbers[topic], data, at, at)
            written.append((topic, at, data))
        bag.flush()
        sizes.append(sum(file.stat().st_size for file in path.glob('*.mcap')))
    bag.abandon()
    return written, sizes


@pytest.mark.parametrize('limit', [0, 4000])
def test_what_was_flushed_is_recovered(tmp_path: Path, limit: int) -> None:
    written, _ = cut_off(tmp_path / 'bag', max_file_bytes=limit)
    before = {path: path.read_bytes() for path in (tmp_path / 'bag').iterdir()}
    done = recover(tmp_path / 'bag', tmp_path / 'new')
    assert sorted(check(tmp_path / 'new')) == sorted(written)
    assert done.counts.total() == len(written)
    assert list(done.damage.ended_at) == [max(p.name for p in before if p.suffix == '.mcap')]
    assert f'{len(written)} messages of 3 topics' in str(done) and 'was cut off' in str(done)
    assert {path: path.read_bytes() for path in (tmp_path / 'bag').iterdir()} == before
    with Reader(tmp_path / 'new') as reader:
        assert reader.ros_distro == 'jazzy'
        for connection in reader.connections:
            assert connection.digest.startswith('RIHS01_')
            assert [p.depth for p in connection.ext.offered_qos_profiles] == [5, 5]


def test_wherever_a_file_ends_its_whole_chunks_are_recovered(tmp_path: Path) -> None:
    written, sizes = cut_off(tmp_path / 'bag')
    file = tmp_path / 'bag' / 'bag_0.mcap'
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for length in (*rng.integers(0, len(whole), 25).tolist(), *sizes):
        file.write_bytes(whole[:length])
        recover(tmp_path / 'bag', tmp_path / 'new')
        found = check(tmp_path / 'new')
        flushed = sum(length >= size for size in sizes)
        assert found == written[:len(found)]
        assert len(found) >= (100 + 10 * (flushed - 1) if flushed else 0)
        shutil.rmtree(tmp_path / 'new')


def test_a_damaged_chunk_is_left_out_and_the_rest_is_not(tmp_path: Path) -> None:
    written, sizes = cut_off(tmp_path / 'bag', compress=False)
    file = tmp_path / 'bag' / 'bag_0.mcap'
    damaged = bytearray(file.read_bytes())
    # Well within the messages of the third flush.
    damaged[sizes[1] + 200] ^= 0xFF
    file.write_bytes(damaged)
    done = recover(tmp_path / 'bag', tmp_path / 'new')
    assert done.damage.damaged_chunks == 1 and 'damaged' in str(done)
    assert check(tmp_path / 'new') == written[:120] + written[130:]


def test_noise_behind_the_end_is_no_message(tmp_path: Path) -> None:
    written, _ = cut_off(tmp_path / 'bag')
    rng = np.random.default_rng(1)
    for tail in (bytes(4096), rng.bytes(4096), b'\xff' * 4096):
        with (tmp_path / 'bag' / 'bag_0.mcap').open('ab') as stream:
            stream.write(tail)
        recover(tmp_path / 'bag', tmp_path / 'new')
        assert check(tmp_path / 'new') == written
        shutil.rmtree(tmp_path / 'new')


@pytest.mark.parametrize('metadata', [None, '', '[', 'rosbag2_bagfile_information: 3', '\0'])
def test_metadata_is_not_needed(tmp_path: Path, metadata: str | None) -> None:
    written, _ = cut_off(tmp_path / 'bag')
    path = tmp_path / 'bag' / 'metadata.yaml'
    path.unlink()
    if metadata is not None:
        path.write_text(metadata)
    recover(tmp_path / 'bag', tmp_path / 'new')
    assert check(tmp_path / 'new') == written
    content = yaml.safe_load((tmp_path / 'new' / 'metadata.yaml').read_text())
    assert content['rosbag2_bagfile_information']['ros_distro'] == ''


def test_a_whole_bag_comes_out_as_it_went_in(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag', max_file_bytes=2000) as bag:
        written = fill(bag, 150)
    assert len(list((tmp_path / 'bag').glob('*.mcap'))) > 2
    assert 'nothing was missing' in str(recover(tmp_path / 'bag', tmp_path / 'new'))
    assert check(tmp_path / 'new') == written == check(tmp_path / 'bag')


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag', compress=False, max_file_bytes=400) as bag:
        written = fill(bag, 60)
    assert (tmp_path / 'bag' / 'bag_10.mcap').exists()
    recover(tmp_path / 'bag', tmp_path / 'new')
    assert check(tmp_path / 'new') == written


def test_what_is_no_bag_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecoveryError, match='no folder'):
        recover(tmp_path / 'none', tmp_path / 'new')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(RecoveryError, match='no .mcap file'):
        recover(tmp_path / 'empty', tmp_path / 'new')
    cut_off(tmp_path / 'bag')
    with pytest.raises(RecoveryError, match='exists'):
        recover(tmp_path / 'bag', tmp_path / 'empty')
