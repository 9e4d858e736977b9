"""Whether a model fits is known before it is loaded, and said with the numbers."""
from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vr_ros.core.types import PerceptionError, Status
from vr_ros.models import memory
from vr_ros.models.card import load_card

GB = 10**9


@pytest.mark.parametrize(('dtype', 'size'), [
    ('float32', 4 * 1000 + 8 * 7),      # as it is; whole numbers stay what they are
    ('bfloat16', 2 * 1000 + 8 * 7),     # half of that
])
def test_size_after_conversion(tmp_path: Path, dtype: str, size: int) -> None:
    save_file({'weight': np.zeros((10, 100), np.float32)}, tmp_path / 'a.safetensors',
              metadata={'format': 'pt'})
    save_file({'index': np.zeros(7, np.int64)}, tmp_path / 'b.safetensors')
    assert memory.weights_bytes(tmp_path, dtype) == size


def test_size_of_the_embedded_model_is_that_of_its_tensors() -> None:
    from safetensors import safe_open
    directory = load_card('sim_tiny').reasoner.weights.path
    count = 0
    for path in directory.glob('*.safetensors'):
        with safe_open(path, framework='np') as file:
            count += sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())
    assert memory.weights_bytes(directory, 'bfloat16') == 2 * count > 10**6


@pytest.mark.parametrize('content', [
    b'',                                                        # nothing
    struct.pack('<Q', 2**60),                                   # a header of an exabyte
    struct.pack('<Q', 2) + b'[]',                               # no mapping
    struct.pack('<Q', 9) + b'{"a":[1]}',                        # a tensor without a type
    struct.pack('<Q', 3) + b'\xff\xfe\xfd',                     # no text
])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'model.safetensors').write_bytes(content)
    with pytest.raises(PerceptionError, match='model.safetensors is damaged') as caught:
        memory.weights_bytes(tmp_path, 'float32')
    assert caught.value.status is Status.MODEL_UNAVAILABLE


@pytest.mark.parametrize(('parts', 'host', 'device', 'says'), [
    ({'reasoner': 16 * GB}, 64 * GB, 24 * GB, ''),                        # fits a GPU
    ({'reasoner': 16 * GB}, 64 * GB, 17 * GB, '17.60 GB on cuda'),        # but for the head-room
    ({'reasoner': 16 * GB}, 8 * GB, 24 * GB, 'on its way to cuda'),       # not through the host
    ({'reasoner': 4 * GB, 'segmenter': GB}, 8 * GB, None, ''),            # no GPU
    ({'reasoner': 4 * GB, 'segmenter': GB}, 5 * GB, None, '5.00 GB are free'),
    ({'reasoner': 10**7}, 2 * 10**8, None, '0.28 GB of host memory'),     # small, but no room
    ({'reasoner': 16 * GB}, None, None, ''),                              # nobody knows
])
def test_what_does_not_fit_is_refused(
        parts: dict[str, int], host: int | None, device: int | None, says: str) -> None:
    if not says:
        memory.check_fits(parts, 'cuda', host_free=host, device_free=device)
        return
    with pytest.raises(PerceptionError) as caught:
        memory.check_fits(parts, 'cuda', host_free=host, device_free=device)
    assert caught.value.status is Status.MODEL_UNAVAILABLE
    assert says in caught.value.message and '\n' not in caught.value.message


def test_free_is_what_the_system_and_the_control_group_allow(tmp_path: Path) -> None:
    assert memory.free_host_bytes(tmp_path) is None
    (tmp_path / 'proc').mkdir()
    (tmp_path / 'proc/meminfo').write_text('MemTotal: 9000 kB\nMemAvailable: 5000 kB\n')
    assert memory.free_host_bytes(tmp_path) == 5000 * 1024
    group = tmp_path / 'sys/fs/cgroup'
    group.mkdir(parents=True)
    (group / 'memory.max').write_text('max\n')
    (group / 'memory.current').write_text('1000000\n')
    (group / 'memory.stat').write_text('anon 5\ninactive_file 300000\n')
    assert memory.free_host_bytes(tmp_path) == 5000 * 1024        # no limit
    (group / 'memory.max').write_text('2000000\n')
    assert memory.free_host_bytes(tmp_path) == 1_300_000          # files in the cache count as free
    (group / 'memory.max').write_text('500000\n')
    assert memory.free_host_bytes(tmp_path) == 0                  # over it already


def test_here_it_is_known() -> None:
    assert 2**20 < memory.free_host_bytes() < 2**45


def test_a_card_is_checked_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.check_card_fits(load_card('sim_tiny'), 'cpu')
    monkeypatch.setattr(memory, 'free_host_bytes', lambda: 10**6)
    with pytest.raises(PerceptionError, match='needs .* GB of host memory') as caught:
        from vr_ros.pipeline.perceiver import Perceiver
        Perceiver.from_card('sim_tiny', device='cpu')
    assert caught.value.status is Status.MODEL_UNAVAILABLE
