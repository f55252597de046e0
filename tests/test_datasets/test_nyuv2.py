"""NYUv2: its layout, units, classes and window on a tiny tree; the real one where it is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.datasets import NYUv2
from mmmtl.datasets.nyuv2 import HELD_OUT, TO_13
from mmmtl.tasks.classes import CLASSES

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes='nyuv2_40', unscored=['otherprop']),
    coarse=dict(type='SemanticSegmentation', classes='nyuv2_13', source='semseg13'),
    depth=dict(type='DepthEstimation', max_depth=10.0),
)
PACK = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps'), dict(type='mmmtl.PackMultiTaskInputs')]
REAL = Path(__file__).parents[2] / 'data' / 'nyuv2_384x288'


def build(root: Path, split: str = 'train', **kwargs: Any) -> NYUv2:
    return NYUv2(root, split=split, **{'pipeline': PACK, 'metainfo': dict(tasks=TASKS), **kwargs})


@pytest.fixture
def nyuv2(tmp_path: Path, write_image) -> Path:
    """Three images: labels 0 to 39 and 255 in turn, depth codes 0 to 255; the last has no depth."""
    values = np.arange(288 * 384).reshape(288, 384)
    labels = np.append(np.arange(40), 255)[values % 41].astype(np.uint8)
    for number in (1, 2, 7):
        write_image(tmp_path / 'rgb' / f'{number:04d}.webp', np.full((288, 384, 3), 30 * number, np.uint8))
        write_image(tmp_path / 'lab40' / f'{number:04d}.png', labels)
        if number < 7:
            write_image(tmp_path / 'depth8' / f'{number:04d}.png', (values % 256).astype(np.uint8))
    (tmp_path / 'train.txt').write_text('0001\n0007\n')
    (tmp_path / 'test.txt').write_text('0002\n')
    return tmp_path


def test_the_lists_and_partial_labels(nyuv2: Path) -> None:
    train = build(nyuv2)
    assert [train.get_data_info(i)['video'] for i in range(len(train))] == ['0001', '0007']
    assert sorted(train[0]['data_samples'].gt.keys()) == ['coarse', 'depth', 'semseg']
    assert sorted(train[1]['data_samples'].gt.keys()) == ['coarse', 'semseg']
    assert abs(int(train[1]['inputs'][0, 5, 5]) - 210) <= 1
    assert len(build(nyuv2, 'test')) == 1


def test_the_held_out_part(nyuv2: Path, write_image) -> None:
    assert len(HELD_OUT) == 100
    write_image(nyuv2 / 'rgb' / '0092.webp', np.zeros((288, 384, 3), np.uint8))
    write_image(nyuv2 / 'depth8' / '0092.png', np.ones((288, 384), np.uint8))
    (nyuv2 / 'train.txt').write_text('0001\n0007\n0092\n')
    parts = {split: build(nyuv2, split) for split in ('fit', 'held-out')}
    videos = {split: [part.get_data_info(i)['video'] for i in range(len(part))] for split, part in parts.items()}
    assert videos == {'fit': ['0001', '0007'], 'held-out': ['0092']}


def test_units_and_classes(nyuv2: Path) -> None:
    gt = build(nyuv2, 'test')[0]['data_samples'].gt
    codes = (torch.arange(288 * 384) % 256).view(1, 288, 384)
    torch.testing.assert_close(gt.depth, (codes.float() + 0.5) / 25.5)
    place = torch.arange(288 * 384).view(1, 288, 384) % 41
    assert torch.equal(gt.semseg, torch.where(place < 40, place, 255))
    assert torch.equal(gt.coarse, torch.tensor([*TO_13, 255])[place])


def test_a_class_in_both_lists_keeps_its_name() -> None:
    fine, coarse = list(CLASSES['nyuv2_40']), list(CLASSES['nyuv2_13'])
    of_fine = {name: coarse[label] for name, label in zip(fine, TO_13, strict=True)}
    shared = set(fine) & set(coarse)
    assert len(shared) == 10 and {name: of_fine[name] for name in shared} == {name: name for name in shared}


def test_the_evaluation_window(nyuv2: Path) -> None:
    whole, window = (build(nyuv2, 'test', evaluation_window=w)[0]['data_samples'].gt for w in (False, True))
    inside = torch.zeros(1, 288, 384, dtype=torch.bool)
    inside[:, 27:283, 25:361] = True
    for name, fill in (('semseg', 255), ('coarse', 255), ('depth', 0)):
        assert torch.equal(window.get(name), whole.get(name).where(inside, torch.tensor(fill).to(whole.get(name))))


def test_what_is_missing(nyuv2: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'val\.txt: no such list; check data_root and split'):
        build(nyuv2, 'val')
    (nyuv2 / 'rgb/0007.webp').unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.txt: 1 of \d+ names have no image.*'0007'"):
        build(nyuv2)


def test_derived_normals(nyuv2: Path, write_image) -> None:
    tasks = dict(TASKS, normals=dict(type='SurfaceNormals'))
    with pytest.raises(FileNotFoundError, match=r'normals: no such folder; run `python derive_normals\.py --root'):
        build(nyuv2, 'test', metainfo=dict(tasks=tasks))
    # BGR: a floor in front of the left half, a wall in front of the right one.
    colours = np.full((288, 384, 3), (127, 0, 128), np.uint8)
    colours[:, 192:] = (0, 128, 127)
    write_image(nyuv2 / 'normals/0002.png', colours)
    whole, window = (
        build(nyuv2, 'test', metainfo=dict(tasks=tasks), evaluation_window=w)[0]['data_samples'].gt.normals
        for w in (False, True)
    )
    for columns, normal in ((slice(0, 192), (0, -1, 0)), (slice(192, 384), (0, 0, -1))):
        expected = torch.tensor(normal).view(3, 1, 1).float().expand(3, 288, 192)
        torch.testing.assert_close(whole[:, :, columns], expected, atol=0.005, rtol=0)
    assert torch.equal(window[:, 27:283, 25:361], whole[:, 27:283, 25:361])
    assert not window[:, :27].any() and not window[:, :, 361:].any()
    # The train images have none: a label that is left out.
    assert 'normals' not in build(nyuv2, metainfo=dict(tasks=tasks))[0]['data_samples'].gt


@pytest.mark.data
@pytest.mark.skipif(not REAL.exists(), reason='data/nyuv2_384x288 is not there')
def test_real_nyuv2() -> None:
    info = json.loads((REAL / 'classes.json').read_text())
    assert tuple(info['map_40_to_13']) == TO_13
    # The official list has a slip of the pen.
    official = [name.replace('refridgerator', 'refrigerator') for name in info['names']]  # codespell:ignore
    assert official == list(CLASSES['nyuv2_40']) and info['names_13'] == list(CLASSES['nyuv2_13'])
    train, test = build(REAL), build(REAL, 'test', evaluation_window=True)
    assert (len(train), len(test)) == (795, 654)
    sample = train[100]
    assert sample['inputs'].shape == (3, 288, 384) and sample['inputs'].float().std() > 20
    gt = sample['data_samples'].gt
    assert set(gt.semseg.unique().tolist()) <= {*range(39), 255} and len(gt.semseg.unique()) > 5
    assert 0.3 < gt.depth.min() < gt.depth.mean() < gt.depth.max() <= 10.01
    outside = test[3]['data_samples'].gt.depth[:, :27]
    assert (outside == 0).all()
