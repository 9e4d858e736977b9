"""Finding and checking a checkpoint's files: real safetensors, a real hub cache on disk."""
from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file

from vr_ros.core.types import PerceptionError, Status
from vr_ros.models.card import WeightsCard
from vr_ros.models.weights import check_loaded, resolve_weights

COMMIT = '0123456789abcdef0123456789abcdef01234567'
OTHER_COMMIT = 'fedcba9876543210fedcba9876543210fedcba98'
HUB = WeightsCard(hub='someone/a-model')


def write_checkpoint(directory: Path, fill: float = 0.0, shards: tuple[str, ...] = ()) -> Path:
    """A directory with config.json and one file of weights, or several with an index."""
    directory.mkdir(parents=True)
    (directory / 'config.json').write_text('{"model_type": "sam2"}')
    for name in shards or ('model.safetensors',):
        save_file({f'{name}.weight': np.full((16, 16), fill, np.float32)}, directory / name)
    if shards:
        index = {'weight_map': {f'{name}.weight': name for name in shards}}
        (directory / 'model.safetensors.index.json').write_text(json.dumps(index))
    return directory


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    """An empty hub cache and an empty cache of ours; the network is off."""
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'hub' / 'models--someone--a-model'


def put_into_hub_cache(cache: Path, commit: str, fill: float) -> Path:
    """Lay a snapshot down as the hub's client does, and let 'main' name it."""
    (cache / 'refs').mkdir(parents=True, exist_ok=True)
    (cache / 'refs' / 'main').write_text(commit)
    return write_checkpoint(cache / 'snapshots' / commit, fill)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def message_of(weights: WeightsCard) -> str:
    """The one line that a failure to resolve gives."""
    with pytest.raises(PerceptionError) as caught:
        resolve_weights(weights)
    assert caught.value.status == Status.MODEL_UNAVAILABLE
    assert '\n' not in caught.value.message
    return caught.value.message


def test_directory(tmp_path):
    directory = write_checkpoint(tmp_path / 'weights')
    assert resolve_weights(WeightsCard(path=directory)) == directory


def test_missing_directory_says_how_to_get_it(tmp_path):
    message = message_of(WeightsCard(path=tmp_path / 'absent'))
    assert f'no weights at {tmp_path / "absent"}' in message
    assert 'train or copy' in message


def damage_header_length(data: bytes) -> bytes:
    return b'\xff' * 8 + data[8:]


def damage_header(data: bytes) -> bytes:
    return data[:8] + b'?' + data[9:]


@pytest.mark.parametrize('damage', [
    lambda data: data[:-100],  # cut off, as by an interrupted copy
    lambda data: data[:4],  # not even a header
    lambda data: b'',  # empty
    lambda data: data + b'\0' * 9,  # longer than its header says
    damage_header_length,
    damage_header,
    lambda data: b'version https://git-lfs.github.com/spec/v1\noid sha256:00\n',  # LFS pointer
])
def test_damaged_file_is_named(tmp_path, damage):
    directory = write_checkpoint(tmp_path / 'weights')
    file = directory / 'model.safetensors'
    file.write_bytes(damage(file.read_bytes()))
    assert f'{file} is damaged' in message_of(WeightsCard(path=directory))


def test_incomplete_checkpoints(tmp_path):
    shards = ('model-1.safetensors', 'model-2.safetensors')
    lacking_shard = write_checkpoint(tmp_path / 'a', shards=shards)
    assert resolve_weights(WeightsCard(path=lacking_shard)) == lacking_shard
    (lacking_shard / 'model-2.safetensors').unlink()
    assert 'lacks model-2.safetensors (1 of 2 files)' in message_of(WeightsCard(path=lacking_shard))

    lacking_config = write_checkpoint(tmp_path / 'b')
    (lacking_config / 'config.json').unlink()
    assert 'config.json is missing' in message_of(WeightsCard(path=lacking_config))

    broken_config = write_checkpoint(tmp_path / 'c')
    (broken_config / 'config.json').write_text('{"model_type": ')
    assert 'config.json is damaged' in message_of(WeightsCard(path=broken_config))

    pickled = write_checkpoint(tmp_path / 'd')
    (pickled / 'model.safetensors').rename(pickled / 'pytorch_model.bin')
    assert 'no *.safetensors' in message_of(WeightsCard(path=pickled))


def test_digests_of_the_card(tmp_path):
    directory = write_checkpoint(tmp_path / 'weights')
    right = sha256(directory / 'model.safetensors')
    digests = {'model.safetensors': right}
    assert resolve_weights(WeightsCard(path=directory, sha256=digests)) == directory

    save_file({'weight': np.ones((16, 16), np.float32)}, directory / 'model.safetensors')
    message = message_of(WeightsCard(path=directory, sha256=digests))
    assert 'model.safetensors is not the expected file' in message
    assert right[:12] in message
    assert sha256(directory / 'model.safetensors')[:12] in message

    absent = {'other.safetensors': right}
    assert 'SHA-256 missing' in message_of(WeightsCard(path=directory, sha256=absent))


def test_hub_out_of_reach_says_how_to_get_it(hub_cache):
    assert 'run "hf download someone/a-model", or set HF_HUB_OFFLINE=0' in message_of(HUB)
    pinned = WeightsCard(hub=HUB.hub, revision='v1')
    assert 'run "hf download someone/a-model --revision v1"' in message_of(pinned)
    assert 'no repository id' in message_of(WeightsCard(hub='not/a/repository'))


@pytest.mark.parametrize(('value', 'is_local'), [
    (None, True),    # not asked for
    ('1', True),     # said so
    ('', True),      # said nothing
    ('0', False),    # asked for
])
def test_nothing_is_downloaded_unasked(hub_cache, monkeypatch, value, is_local):
    asked = []
    snapshot = put_into_hub_cache(hub_cache, COMMIT, fill=1.0)

    def download(hub, **options):
        asked.append(options['local_files_only'])
        return snapshot

    monkeypatch.setattr('huggingface_hub.snapshot_download', download)
    if value is None:
        monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
    else:
        monkeypatch.setenv('HF_HUB_OFFLINE', value)
    resolve_weights(HUB)
    assert asked == [is_local]


def test_first_use_is_recorded_and_kept(hub_cache, tmp_path, caplog):
    first = put_into_hub_cache(hub_cache, COMMIT, fill=1.0)
    with caplog.at_level(logging.WARNING):
        assert resolve_weights(HUB) == first
    assert 'the card gives no revision of someone/a-model' in caplog.text
    record = json.loads((tmp_path / 'cache' / 'vr_ros' / 'weights.json').read_text())
    entry = record['someone/a-model']
    assert entry['revision'] == COMMIT
    assert entry['files']['model.safetensors']['sha256'] == sha256(first / 'model.safetensors')

    caplog.clear()
    put_into_hub_cache(hub_cache, OTHER_COMMIT, fill=2.0)  # 'main' moves on: we stay
    assert resolve_weights(HUB) == first
    assert not caplog.text


def test_changed_file_is_refused(hub_cache):
    directory = put_into_hub_cache(hub_cache, COMMIT, fill=1.0)
    resolve_weights(HUB)
    save_file({'weight': np.ones(3, np.float32)}, directory / 'model.safetensors')
    message = message_of(HUB)
    assert 'model.safetensors is not the expected file' in message
    assert 'weights.json; remove "someone/a-model" there if the change is wanted' in message
    assert message_of(HUB) == message  # the failure does not record the changed file


def test_touched_file_is_read_again_and_accepted(hub_cache):
    directory = put_into_hub_cache(hub_cache, COMMIT, fill=1.0)
    resolve_weights(HUB)
    (directory / 'model.safetensors').touch()
    assert resolve_weights(HUB) == directory


def test_revision_of_the_card_has_its_own_record(hub_cache, tmp_path, caplog):
    put_into_hub_cache(hub_cache, COMMIT, fill=1.0)
    second = put_into_hub_cache(hub_cache, OTHER_COMMIT, fill=2.0)
    pinned = WeightsCard(hub=HUB.hub, revision=OTHER_COMMIT)
    assert resolve_weights(pinned) == second
    assert not caplog.text
    record = json.loads((tmp_path / 'cache' / 'vr_ros' / 'weights.json').read_text())
    assert list(record) == [f'someone/a-model@{OTHER_COMMIT}']


def test_damaged_record_is_an_error_not_a_reset(hub_cache, tmp_path):
    put_into_hub_cache(hub_cache, COMMIT, fill=1.0)
    resolve_weights(HUB)
    record = tmp_path / 'cache' / 'vr_ros' / 'weights.json'
    record.write_text(record.read_text()[:20])
    assert f'{record} is damaged' in message_of(HUB)


def test_unwritable_cache_only_warns(hub_cache, tmp_path, caplog):
    directory = put_into_hub_cache(hub_cache, COMMIT, fill=1.0)
    (tmp_path / 'cache').write_text('a file where the directory should be')
    assert resolve_weights(HUB) == directory
    assert 'cannot be recorded' in caplog.text


@pytest.mark.parametrize(('report', 'message'), [
    ({'missing_keys': {'b', 'a'}}, 'lacks 2 tensors, such as a'),
    ({'mismatched_keys': {('w', (1, 2), (2, 1))}}, 'has other shapes for 1 tensors, such as w'),
])
def test_tensors_left_at_random_are_refused(tmp_path, report, message):
    with pytest.raises(PerceptionError, match=message):
        check_loaded(report, tmp_path)
    check_loaded({'missing_keys': set(), 'unexpected_keys': {'memory_encoder'}}, tmp_path)
