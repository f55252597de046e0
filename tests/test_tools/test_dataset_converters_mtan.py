"""mtan.py: archives and folders of MTAN's form, their counts and the signs of the normals."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmmtl.datasets import MTANNYUv2
from mmmtl.datasets.conversion.normal_signs import normals_of_depth

TOOL = 'tools/dataset_converters/mtan.py'


def make(root: Path, folders: dict[str, np.ndarray], counts: dict[str, int]) -> Path:
    for split, number in counts.items():
        for folder, array in folders.items():
            (root / split / folder).mkdir(parents=True)
            for index in range(number):
                np.save(root / split / folder / f'{index}.npy', array)
    return root


def test_nyuv2_of_an_archive(run_tool: Callable[..., str], tmp_path: Path) -> None:
    columns, rows = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64))
    depth = (3 + 0.5 * columns - rows + 0.2 * columns * rows).astype(np.float32)
    folders = dict(image=np.zeros((64, 64, 3), np.float32), label=np.zeros((64, 64)), depth=depth[..., None])
    root = make(tmp_path / 'nyuv2', folders | dict(normal=normals_of_depth(depth) * (-1, 1, 1)), dict(train=2, val=1))
    with zipfile.ZipFile(tmp_path / 'nyuv2.zip', 'w') as archive:
        for path in sorted(root.rglob('*.npy')):
            archive.write(path, path.relative_to(tmp_path))
    out = tmp_path / 'out'
    with pytest.raises(SystemExit, match=r'train/depth\D+2\D+795\D.*val/normal\D+1\D+654\D'):
        run_tool(TOOL, 'nyuv2', tmp_path / 'nyuv2.zip', '--out', out)
    assert not out.exists()
    printed = run_tool(TOOL, 'nyuv2', tmp_path / 'nyuv2.zip', '--out', out, '--allow-partial')
    assert 'normal_signs=(-1, 1, 1)' in printed
    tasks = dict(semseg=dict(type='SemanticSegmentation', classes='nyuv2_13'))
    assert len(MTANNYUv2(out, split='train', metainfo=dict(tasks=tasks))) == 2
    assert json.loads((out / 'manifest.json').read_text())['counts']['val/normal'] == 1


def test_cityscapes_in_place(run_tool: Callable[..., str], tmp_path: Path) -> None:
    small = np.zeros((1, 1, 1), np.float32)
    root = make(tmp_path / 'city', dict(image=small, depth=small, label_7=small), dict(train=3, val=2))
    with pytest.raises(SystemExit, match=r'train/depth\D+3\D+2975\D.*val/label_7\D+2\D+500\D'):
        run_tool(TOOL, 'cityscapes', root)
    printed = run_tool(TOOL, 'cityscapes', root, '--allow-partial')
    assert f'{root}: complete' in printed and 'normals' not in printed
    with pytest.raises(SystemExit, match='train'):
        run_tool(TOOL, 'cityscapes', tmp_path)
    root = make(tmp_path / 'no depth', dict(image=small, label_7=small), dict(train=3, val=2))
    with pytest.raises(SystemExit, match=r'train/depth\D+0\D+2975\D'):
        run_tool(TOOL, 'cityscapes', root)
