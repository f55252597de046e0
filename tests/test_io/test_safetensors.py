"""Weights in safetensors files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmmtl.io import write_safetensors
from mmmtl.io.checkpoints import load_from_local

META = {'task_order': ['depth', 'semseg'], 'dataset_meta': {'tasks': {'depth': {'type': 'DepthEstimation'}}}}


def test_weights_and_meta_come_back(tmp_path: Path) -> None:
    kernel = torch.randn(4, 3, 3, 3)
    weights = {'kernel': kernel.transpose(0, 1), 'variance': torch.tensor([1e-9, 1e9]), 'count': torch.tensor(3)}
    weights['tied'] = weights['kernel']
    write_safetensors(tmp_path / 'a.safetensors', weights, META)
    found = load_from_local(tmp_path / 'a.safetensors')
    assert found['meta'] == META
    assert {name: value.dtype for name, value in found['state_dict'].items()} == {
        name: value.dtype for name, value in weights.items()
    }
    assert all(torch.equal(value, found['state_dict'][name]) for name, value in weights.items())


def test_only_kernels_become_half_precision(tmp_path: Path) -> None:
    weights = {'kernel': torch.full((2, 2), 1 / 3), 'variance': torch.tensor([1e-9, 1e9]), 'count': torch.tensor(3)}
    write_safetensors(tmp_path / 'a.safetensors', weights, {}, dtype=torch.float16)
    found = load_from_local(tmp_path / 'a.safetensors')['state_dict']
    assert torch.equal(found['kernel'], weights['kernel'].half())
    assert torch.equal(found['variance'], weights['variance']) and found['count'].dtype == torch.int64
    with pytest.raises(ValueError, match='kernel.*7e\\+04'):
        write_safetensors(tmp_path / 'b.safetensors', {'kernel': torch.full((2, 2), 7e4)}, {}, dtype=torch.float16)
    assert not (tmp_path / 'b.safetensors').exists()


def test_the_hash_depends_on_the_contents_alone(tmp_path: Path) -> None:
    first = write_safetensors(tmp_path / 'a.safetensors', {'x': torch.ones(3)}, META)
    assert first == write_safetensors(tmp_path / 'b.safetensors', {'x': torch.ones(3)}, META)
    assert first != write_safetensors(tmp_path / 'b.safetensors', {'x': torch.zeros(3)}, META)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), 'truncated'),
        (lambda path: path.write_bytes(b'no tensors'), 'truncated'),
        (lambda path: path.write_bytes(b''), 'truncated'),
        (lambda path: save_file({'x': torch.ones(1)}, path, {'mmmtl': '[]'}), 'dict'),
        (lambda path: save_file({'x': torch.ones(1)}, path, {'mmmtl': '[' * 100_000}), 'not a readable'),
        (lambda path: save_file({'x': torch.ones(1)}, path, {'mmmtl': '{"a":' * 60 + '1' + '}' * 60}), 'nested'),
        (lambda path: save_file({'x': torch.full((2,), torch.nan)}, path), 'not finite'),
    ],
)
def test_other_files_are_refused_by_name(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    write_safetensors(path, {'x': torch.ones(4)}, META)
    spoil(path)
    with pytest.raises(ValueError, match=f'a.safetensors.*{message}'):
        load_from_local(path)
    with pytest.raises(FileNotFoundError, match=r'none\.safetensors'):
        load_from_local(tmp_path / 'none.safetensors')
