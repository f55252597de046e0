"""nyud_video.py: frames found by name and time, gaps, resampling, rectification, and clips that the data set reads."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from mmmtl.datasets import VideoFolder
from mmmtl.datasets.conversion.normal_signs import normals_of_depth
from mmmtl.datasets.nyuv2 import TO_13

TOOL = 'tools/dataset_converters/nyud_video.py'
SIZE = (48, 64)
CLASSES = np.arange(894) % 40 + 1
# Seconds of the raw frames of each folder; they are not written in this order.
STAMPS = {
    'bedroom_0001': [100 + 0.05 * i for i in range(8)],
    'basement_0001a': [200 + 0.05 * i for i in range(3)],
    'basement_0001b': [200.15 + 0.05 * i for i in range(3)],
    'office_0003': [300.0, 300.05, 302.0, 302.05, 302.1],
}
# Scene, and which of its frames is labelled: in the middle, in the second part, soon after a pause, and not at hand.
LABELLED = [('bedroom_0001', 6), ('basement_0001b', 1), ('office_0003', 4), ('kitchen_0009', 0)]
TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes='nyuv2_13'), depth=dict(type='DepthEstimation', max_depth=10.0)
)
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]


def name(scene: str, index: int) -> str:
    stamps = STAMPS.get(scene, [400.0])
    return f'r-{stamps[index]:.6f}-{(4294967290 + 7 * index) % 2**32}.ppm'


def grey_of(scene: str, index: int) -> int:
    return 20 * sorted(STAMPS).index(scene) + 5 * index + 1


@pytest.fixture
def official(tmp_path: Path) -> list[Any]:
    """The arguments; three train images and one of the test part."""
    h5py = pytest.importorskip('h5py')
    raw = tmp_path / 'raw'
    for scene, stamps in STAMPS.items():
        folder = raw / ('basements' if scene.startswith('basement') else '') / scene
        folder.mkdir(parents=True)
        for index in reversed(range(len(stamps))):
            image = np.full((*SIZE, 3), grey_of(scene, index), np.uint8)
            assert cv2.imwrite(str(folder / name(scene, index)), image)
            (folder / name(scene, index).replace('r-', 'd-').replace('.ppm', '.pgm')).write_bytes(b'P5')
        (folder / 'INDEX.txt').write_text('\n'.join(name(scene, i) for i in range(len(stamps))) + '\n')
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 895, (4, *SIZE)).astype(np.uint16)
    columns, rows = np.meshgrid(np.linspace(-1, 1, SIZE[1]), np.linspace(-1, 1, SIZE[0]))
    depths = np.stack([(3 + 0.5 * columns - rows + 0.2 * columns * rows)] * 4).astype(np.float32)
    with h5py.File(tmp_path / 'labeled.mat', 'w') as file:
        file['images'] = np.full((4, 3, *SIZE[::-1]), np.reshape([230, 240, 250], (3, 1, 1)), np.uint8)  # RGB
        file['labels'] = labels.transpose(0, 2, 1)
        file['depths'] = depths.transpose(0, 2, 1)
        file['rawDepths'] = np.where(depths > 3, 70, 2.5).astype(np.float32).transpose(0, 2, 1)
        references = []
        for index, (scene, frame) in enumerate(LABELLED):
            text = np.array([[ord(letter)] for letter in f'{scene}/{name(scene, frame)}'], np.uint16)
            file[f'#refs#/{index}'] = text
            references.append(file[f'#refs#/{index}'].ref)
        file['rawRgbFilenames'] = np.array([references], dtype=h5py.ref_dtype)
    np.savez(tmp_path / 'truth.npz', labels=labels, depths=depths)
    savemat(tmp_path / 'splits.mat', dict(trainNdxs=np.array([[1], [2], [4]]), testNdxs=np.array([[3], [1449]])))
    savemat(tmp_path / 'classes.mat', dict(mapClass=CLASSES[None].astype(np.uint8)))
    return [
        tmp_path / 'labeled.mat', '--raw', raw, '--splits', tmp_path / 'splits.mat',
        '--classes', tmp_path / 'classes.mat', '--out', tmp_path / 'out', '--allow-partial', '--no-rectify',
    ]  # fmt: skip


def greys(root: Path, video: str) -> list[int | None]:
    """Return the blue of each of the five frames, None for a missing one."""
    paths = [root / 'frames' / video / f'{time:06d}.png' for time in range(5)]
    return [int(cv2.imread(str(path))[0, 0, 0]) if path.exists() else None for path in paths]


def test_clips(run_tool: Callable[..., str], official: list[Any], tmp_path: Path) -> None:
    printed = run_tool(TOOL, *official)
    out = tmp_path / 'out'
    assert greys(out, '0001') == [*(grey_of('bedroom_0001', i) for i in (2, 3, 4, 5)), 250]
    # The second part goes on where the first ended.
    parts = [('basement_0001a', 0), ('basement_0001a', 1), ('basement_0001a', 2), ('basement_0001b', 0)]
    assert greys(out, '0002') == [*(grey_of(*part) for part in parts), 250]
    # Not across a pause of two seconds, and nothing of a scene that is not at hand.
    assert greys(out, '0003') == [None, None, grey_of('office_0003', 2), grey_of('office_0003', 3), 250]
    assert greys(out, '0004') == [None, None, None, None, 250]
    assert 'train: 2 of 3 labels have all frames' in printed and 'test: 0 of 1 labels' in printed
    manifest = json.loads((out / 'manifest.json').read_text())
    assert manifest['counts'] == {'train': 3, 'train/complete': 2, 'test': 1, 'test/complete': 0}


def test_the_data_set_reads_them(run_tool: Callable[..., str], official: list[Any], tmp_path: Path) -> None:
    run_tool(TOOL, *official)
    truth = np.load(tmp_path / 'truth.npz')
    to_13 = np.append(255, np.array(TO_13)[CLASSES - 1])
    arguments = dict(pipeline=LOAD, metainfo=dict(tasks=TASKS))
    clip = dict(interval=5, offsets=[4], missing='skip')
    train = VideoFolder(tmp_path / 'out', split='train', clip=clip, **arguments)
    assert [item['video'] for item in train] == ['0001', '0002']
    for item in train:
        index = int(item['video']) - 1
        assert np.array_equal(item['gt_maps']['semseg'], to_13[truth['labels'][index]])
        assert np.abs(item['gt_maps']['depth'] - truth['depths'][index]).max() <= 0.0005 + 1e-6
    assert [image[0, 0, 0] for image in train[0]['imgs']] == [grey_of('bedroom_0001', i) for i in (2, 5)] + [250]
    repeated = VideoFolder(tmp_path / 'out', split='test', clip=dict(clip, missing='repeat'), **arguments)
    assert [image[0, 0, 0] for image in repeated[0]['imgs']] == [grey_of('office_0003', i) for i in (2, 3)] + [250]


def test_the_measured_depth(run_tool: Callable[..., str], official: list[Any], tmp_path: Path) -> None:
    run_tool(TOOL, *official, '--raw-depth')
    depth = cv2.imread(str(tmp_path / 'out/depth/0001/000004.png'), cv2.IMREAD_UNCHANGED)
    # A file of 16 bits holds at most 65.535 m.
    assert np.array_equal(depth, np.where(np.load(tmp_path / 'truth.npz')['depths'][0] > 3, 65535, 2500))


def test_a_fixed_rate(run_tool: Callable[..., str], official: list[Any], tmp_path: Path) -> None:
    run_tool(TOOL, *official, '--rate', '10', '--key-frame-interval', '4')
    # 0.3, 0.2 and 0.1 s before the frame of 0.3 s; every second frame of 20 Hz.
    assert greys(tmp_path / 'out', '0001')[:4] == [*(grey_of('bedroom_0001', i) for i in (0, 2, 4)), 250]
    # Its history is 0.1 s long.
    assert greys(tmp_path / 'out', '0003')[:4] == [None, None, grey_of('office_0003', 2), 250]


@pytest.mark.parametrize('interval', [1, 2, 3])
def test_short_intervals(run_tool: Callable[..., str], official: list[Any], tmp_path: Path, interval: int) -> None:
    """With K = 2 the last non-key frame is two frames back, as with more; with K = 1 no frames are read."""
    run_tool(TOOL, *official, '--key-frame-interval', interval)
    numbers = () if interval == 1 else (4, 5)
    assert [g for g in greys(tmp_path / 'out', '0001') if g] == [*(grey_of('bedroom_0001', i) for i in numbers), 250]
    clip = dict(interval=interval, offsets='all', missing='skip')
    train = VideoFolder(tmp_path / 'out', split='train', clip=clip, pipeline=LOAD, metainfo=dict(tasks=TASKS))
    assert [item['offset'] for item in train if item['video'] == '0001'] == list(range(interval))


def test_missing_and_empty_files_leave_gaps(run_tool: Callable[..., str], official: list[Any], tmp_path: Path) -> None:
    (tmp_path / 'raw/bedroom_0001' / name('bedroom_0001', 4)).unlink()
    (tmp_path / 'raw/bedroom_0001' / name('bedroom_0001', 3)).write_bytes(b'')
    for part, other in (('a', 'b'), ('b', 'a')):  # each part lists the files of the other, too
        with open(tmp_path / f'raw/basements/basement_0001{part}/INDEX.txt', 'a') as index:
            index.write('\n'.join(name(f'basement_0001{other}', i) for i in range(3)))
    run_tool(TOOL, *official)
    assert None not in greys(tmp_path / 'out', '0002')
    first, last = grey_of('bedroom_0001', 2), grey_of('bedroom_0001', 5)
    assert greys(tmp_path / 'out', '0001') == [first, None, None, last, 250]


def test_normals_with_other_axes(run_tool: Callable[..., str], official: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / 'normals'
    folder.mkdir()
    truth = normals_of_depth(np.load(tmp_path / 'truth.npz')['depths'][0])
    np.save(folder / 'first.npy', truth * (1, -1, -1))
    with pytest.raises(SystemExit, match='normals: no normals there'):
        run_tool(TOOL, *official, '--normals', folder)
    (folder / 'first.npy').rename(folder / '1.npy')  # as well as 0001.npy
    with pytest.raises(SystemExit, match='--normal-signs 1 -1 -1'):
        run_tool(TOOL, *official, '--normals', folder)
    assert not (tmp_path / 'out').exists()
    printed = run_tool(TOOL, *official, '--normals', folder, '--normal-signs', 1, -1, -1)
    assert 'normals: fit the depth' in printed
    tasks = dict(normals=dict(type='SurfaceNormals'))
    (item,) = VideoFolder(tmp_path / 'out', pipeline=LOAD, metainfo=dict(tasks=tasks))
    some = truth.any(axis=-1)
    assert (item['gt_maps']['normals'] * truth).sum(-1)[some].min() > 0.9999
    assert not item['gt_maps']['normals'][~some].any()


def test_rectification(root: Path) -> None:
    rectify = runpy.run_path(str(root / TOOL))['rectify']
    columns = np.tile(np.linspace(0, 255, 640, dtype=np.float32), (480, 1))
    image = np.repeat(columns[..., None].round().astype(np.uint8), 3, axis=2)
    rectified = rectify(image)
    # The toolbox's model at pixel (100, 60), by hand: where it lies in the raw frame.
    k1, k2, p1, p2, k3 = 0.20796615, -0.58613826, 7.2231363e-4, 1.04796272e-3, 0.49856987
    x, y = (100 - 325.58244941) / 518.857901, (60 - 253.73616633) / 519.469611
    r2 = x * x + y * y
    source = x * (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    expected = (source * 518.857901 + 325.58244941) / 639 * 255
    assert abs(float(rectified[60, 100, 0]) - expected) < 1 and abs(expected - columns[60, 100]) > 1
    black = rectify(np.zeros((480, 640, 3), np.uint8))
    assert (black[:, 0] == 255).all() and not black[45:471, 41:601].any(), 'white outside, nothing lost inside'
    with pytest.raises(ValueError, match=r'\(64, 48\).*\(640, 480\).*--no-rectify'):
        rectify(np.zeros((48, 64, 3), np.uint8))


def test_what_is_wrong(run_tool: Callable[..., str], official: list[Any], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r'labeled\.mat: .*train\D+3\D+795\D+test\D+1\D+654'):
        run_tool(TOOL, *[argument for argument in official if argument != '--allow-partial'])
    with pytest.raises(SystemExit, match=r'nowhere: .*--raw'):
        run_tool(TOOL, *official, '--raw', tmp_path / 'nowhere')
    with pytest.raises(SystemExit, match=r'\(64, 48\).*--no-rectify'):
        run_tool(TOOL, *[argument for argument in official if argument != '--no-rectify'])
    (tmp_path / 'other.mat').write_bytes(b'MATLAB 5.0')
    with pytest.raises(SystemExit, match=r'other\.mat: .*HDF5'):
        run_tool(TOOL, tmp_path / 'other.mat', *official[1:])
    assert not (tmp_path / 'out').exists()
