"""nyud.py: the official file read back by the data set, archives, checks and what is left after a failure."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from mmmtl.datasets import NYUD
from mmmtl.datasets.conversion.normal_signs import normals_of_depth

TOOL = 'tools/dataset_converters/nyud.py'
SIZE = (12, 16)
CLASSES = np.arange(894) % 40 + 1
TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes='nyuv2_40'), depth=dict(type='DepthEstimation', max_depth=10.0)
)
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]


@pytest.fixture
def official(tmp_path: Path) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Arguments for a file of five images in MATLAB's order of axes, and its contents in ours."""
    h5py = pytest.importorskip('h5py')
    rng = np.random.default_rng(0)
    contents = dict(
        images=rng.integers(0, 256, (5, *SIZE, 3), dtype=np.uint8),
        depths=rng.uniform(1, 9, (5, *SIZE)).astype(np.float32),
        rawDepths=np.where(rng.random((5, *SIZE)) < 0.3, 0, 2.5).astype(np.float32),
        labels=rng.integers(0, 895, (5, *SIZE)).astype(np.uint16),
    )
    with h5py.File(tmp_path / 'labeled.mat', 'w') as file:
        for name, array in contents.items():
            file[name] = array.transpose(0, 3, 2, 1) if array.ndim == 4 else array.transpose(0, 2, 1)
    savemat(tmp_path / 'splits.mat', dict(trainNdxs=np.array([[4], [1]]), testNdxs=np.array([[2], [3], [5], [1449]])))
    savemat(tmp_path / 'classes.mat', dict(mapClass=CLASSES[None].astype(np.uint8)))
    arguments = ['labeled.mat', '--splits', 'splits.mat', '--out', 'out', '--allow-partial']
    return [argument if argument.startswith('--') else tmp_path / argument for argument in arguments], contents


def test_the_official_file(run_tool: Callable[..., str], official: Any, tmp_path: Path) -> None:
    arguments, contents = official
    printed = run_tool(TOOL, *arguments, '--classes', tmp_path / 'classes.mat')
    assert f'{tmp_path / "out"}: complete' in printed
    to_40 = np.append(255, CLASSES - 1)
    for split, numbers in (('train', [1, 4]), ('val', [2, 3, 5])):
        data = NYUD(tmp_path / 'out', split=split, pipeline=LOAD, metainfo=dict(tasks=TASKS))
        assert [data.get_data_info(i)['video'] for i in range(len(data))] == [f'{n:04d}' for n in numbers]
        for number, item in zip(numbers, data, strict=True):
            assert np.array_equal(item['imgs'][0][..., ::-1], contents['images'][number - 1])
            assert np.array_equal(item['gt_maps']['depth'], contents['depths'][number - 1])
            assert np.array_equal(item['gt_maps']['semseg'], to_40[contents['labels'][number - 1]])
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert manifest['counts'] == {
        **dict(zip(('train', 'images/train', 'segmentation/train', 'depth/train'), [2] * 4, strict=True)),
        **dict(zip(('val', 'images/val', 'segmentation/val', 'depth/val'), [3] * 4, strict=True)),
    }
    assert [source['name'] for source in manifest['sources']] == ['labeled.mat', 'splits.mat', 'classes.mat']
    assert len(manifest['files']) == 2 + 3 * 5


def test_the_measured_depth_without_classes(run_tool: Callable[..., str], official: Any, tmp_path: Path) -> None:
    arguments, contents = official
    run_tool(TOOL, *arguments, '--raw-depth')
    assert np.array_equal(np.load(tmp_path / 'out/depth/0003.npy'), contents['rawDepths'][2])
    assert not (tmp_path / 'out/segmentation').exists()


def test_a_failure_leaves_nothing(
    run_tool: Callable[..., str], official: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, _ = official
    with pytest.raises(SystemExit, match=r'labeled\.mat: .*train\D+2\D+795\D.*--allow-partial'):
        run_tool(TOOL, *arguments[:-1])
    for count, value in ((13, 1.0), (894, 1.5), (0, 1.0)):
        savemat(tmp_path / 'classes.mat', dict(mapClass=np.full((1, count), value)))
        with pytest.raises(SystemExit, match=rf'classes\.mat: mapClass holds {count} values.* 894 whole.* 1 to 40'):
            run_tool(TOOL, *arguments, '--classes', tmp_path / 'classes.mat')
    with pytest.raises(SystemExit, match='--out.*--splits'):
        run_tool(TOOL, arguments[0])
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(SystemExit, match=r'labeled\.mat.*pip install h5py'):
        run_tool(TOOL, *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['classes.mat', 'labeled.mat', 'splits.mat']


def test_an_archive_with_other_axes(run_tool: Callable[..., str], tmp_path: Path) -> None:
    root = tmp_path / 'NYUD_MT'
    for folder in ('gt_sets', 'images', 'depth', 'normals'):
        (root / folder).mkdir(parents=True)
    (root / 'gt_sets/train.txt').write_text('0001\n')
    (root / 'gt_sets/val.txt').write_text('')
    columns, rows = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 48))
    depth = (3 + 0.5 * columns - rows + 0.2 * columns * rows).astype(np.float32)
    cv2.imwrite(str(root / 'images/0001.png'), np.zeros((48, 64, 3), np.uint8))
    np.save(root / 'depth/0001.npy', depth)
    np.save(root / 'normals/0001.npy', normals_of_depth(depth) * (1, -1, -1))
    with tarfile.open(tmp_path / 'NYUD_MT.tgz', 'w:gz') as archive:
        archive.add(root, 'NYUD_MT')
    printed = run_tool(TOOL, tmp_path / 'NYUD_MT.tgz', '--out', tmp_path / 'out', '--allow-partial')
    assert 'normal_signs=(1, -1, -1)' in printed and (tmp_path / 'out/manifest.json').exists()
    # In place, and whether something is amiss.
    assert 'normals: fit' in run_tool(TOOL, tmp_path / 'out', '--allow-partial')
    (tmp_path / 'out/depth/0001.npy').unlink()
    assert 'their axes were not checked' in run_tool(TOOL, tmp_path / 'out', '--allow-partial')
    with pytest.raises(SystemExit, match=r'out: .*train\D+1\D.*depth/train\D+0\D+795'):
        run_tool(TOOL, tmp_path / 'out')
