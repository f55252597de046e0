"""PASCAL-Context: every source of a small copy by hand, what is optional, what is refused; the config's pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from scipy.io import loadmat, savemat
from torch import Tensor

from mmmtl.config import resolve
from mmmtl.datasets import PASCALContext
from mmmtl.datasets.pascal.labels import INDOOR, VOC_OF_CONTEXT
from mmmtl.datasets.pascal.parts import LABEL_OF_PART, read_objects, read_parts
from mmmtl.datasets.pascal.pascal_context import label_edges
from mmmtl.registry import DATASETS
from mmmtl.tasks import build_tasks
from mmmtl.tasks.classes import CLASSES

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes='pascal_21'),
    parts=dict(type='SemanticSegmentation', classes='human_parts_7', source='human_parts'),
    saliency=dict(type='SaliencyDetection'),
    normals=dict(type='SurfaceNormals'),
    edge=dict(type='EdgeDetection'),
)
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
PACK = [*LOAD, dict(type='mmmtl.PackMultiTaskInputs')]
CONFIG = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets' / 'pascal_512x512.py'
FIRST, DOG, NOTHING = '2008_000001', '2008_000002', '2008_000003'
PARTS = list(CLASSES['human_parts_7'])


def build(root: Path, split: str = 'train', tasks: dict[str, Any] = TASKS, **kwargs: Any) -> PASCALContext:
    return PASCALContext(root, split=split, **{'pipeline': PACK, 'metainfo': dict(tasks=tasks), **kwargs})


def maps_of(root: Path, name: str, **kwargs: Any) -> dict[str, Tensor]:
    """The maps of an image, (M, H, W)."""
    (item,) = [item['data_samples'] for item in build(root, **kwargs) if item['data_samples'].video == name]
    return dict(item.gt.items())


def alone(task: str) -> dict[str, Any]:
    return {task: TASKS[task]}


def test_lists_and_images(pascal_mt: Path) -> None:
    train = build(pascal_mt)
    assert [item['data_samples'].video for item in train] == [FIRST, DOG, NOTHING]
    assert [tuple(item['inputs'].shape) for item in train] == [(3, 64, 64), (3, 61, 83), (3, 64, 64)]
    assert (train[0]['inputs'].float() - 100).abs().max() <= 1
    assert [item['data_samples'].video for item in build(pascal_mt, 'val')] == ['2008_000004']


@pytest.mark.parametrize('name', [FIRST, DOG, NOTHING])
def test_every_map_has_the_size_of_its_image(pascal_mt: Path, name: str) -> None:
    maps = maps_of(pascal_mt, name)
    assert set(maps) == set(TASKS)
    assert {tuple(array.shape[1:]) for array in maps.values()} == {(61, 83) if name == DOG else (64, 64)}


def test_semantic_labels_come_from_voc_first(pascal_mt: Path) -> None:
    from_voc = maps_of(pascal_mt, FIRST)['semseg'][0]
    # Indices of a palette whose colours mean nothing.
    assert (from_voc[0] == 255).all() and not from_voc[1:20].any() and not from_voc[40:].any()
    assert (from_voc[20:40] == 15).all() and list(CLASSES['pascal_21'])[15] == 'person'

    from_context = maps_of(pascal_mt, DOG)['semseg'][0]
    assert not from_context[:20].any() and (from_context[20:40] == 15).all()
    (pascal_mt / f'semseg/VOC12/{FIRST}.png').unlink()
    assert not maps_of(pascal_mt, FIRST)['semseg'][0, 0].any()


def test_parts_of_people(pascal_mt: Path) -> None:
    labels = maps_of(pascal_mt, FIRST)['parts'][0]
    assert (labels == labels[:, :1]).all()
    found = [PARTS[label] for label in labels[:, 0]]
    assert found[20:24] == ['head'] * 4
    assert found[24:31] == ['torso'] * 7
    # The hand comes later in the file than the torso that it hides.
    assert found[31] == 'lower arm'
    assert found[39] == 'lower leg'
    assert set(found[:20] + found[32:39] + found[40:]) == {'background'}


@pytest.mark.parametrize('name', [DOG, NOTHING])
def test_an_image_without_people_is_not_labelled(pascal_mt: Path, name: str) -> None:
    assert (maps_of(pascal_mt, name)['parts'] == 255).all()
    assert len(build(pascal_mt, tasks=alone('parts'))) == 3


def test_with_the_list_of_people_it_has_no_label_at_all(pascal_mt: Path) -> None:
    (pascal_mt / 'ImageSets' / 'Parts').mkdir()
    (pascal_mt / 'ImageSets' / 'Parts' / 'train.txt').write_text(
        json.dumps({FIRST: [15, 12], DOG: [12], NOTHING: [-1]})
    )

    assert 'parts' in maps_of(pascal_mt, FIRST)
    for name in (DOG, NOTHING):
        assert set(maps_of(pascal_mt, name)) == set(TASKS) - {'parts'}
    # As in the papers' training on this task alone.
    assert [item['data_samples'].video for item in build(pascal_mt, tasks=alone('parts'))] == [FIRST]


@pytest.mark.parametrize('text', ['[1, 2]', '{"a": 3}', 'nonsense'])
def test_another_list_of_people_is_refused(pascal_mt: Path, text: str) -> None:
    (pascal_mt / 'ImageSets' / 'Parts').mkdir()
    (pascal_mt / 'ImageSets' / 'Parts' / 'train.txt').write_text(text)
    with pytest.raises(ValueError, match=r'Parts/train\.txt: '):
        build(pascal_mt)


def test_every_part_belongs_to_a_class() -> None:
    assert len(LABEL_OF_PART) == 24 and set(LABEL_OF_PART.values()) == set(range(1, 7))
    for part, name in dict(
        neck='torso', rebrow='head', lhand='lower arm', rfoot='lower leg', luleg='upper leg'
    ).items():
        assert PARTS[LABEL_OF_PART[part]] == name
    # Both sides alike.
    for part, label in LABEL_OF_PART.items():
        mirrored = {'l': 'r', 'r': 'l'}.get(part[0], part[0]) + part[1:]
        assert LABEL_OF_PART.get(mirrored, label) == label, part


def test_annotations_survive_the_round_trip(pascal_mt: Path) -> None:
    path = pascal_mt / f'human_parts/{FIRST}.mat'
    # The nesting that public loaders walk through.
    things = loadmat(path)['anno'][0][0][1][0]
    assert [thing[1][0][0] for thing in things] == [15, 15, 12]
    assert str(things[0][3][0][2][0][0]) == 'torso' and len(things[1][3]) == 0

    objects = read_objects(path)
    assert [(kind, int(mask[:, 0].sum()), [name for name, _ in parts]) for kind, mask, parts in objects] == [
        (15, 20, ['hair', 'nose', 'torso', 'rhand', 'lfoot']), (15, 1, []), (12, 5, ['tail'])
    ]  # fmt: skip
    assert read_objects(pascal_mt / f'human_parts/{NOTHING}.mat') == []
    assert read_parts(pascal_mt / f'human_parts/{DOG}.mat') is None


def test_people_whose_parts_are_empty_have_no_label(pascal_mt: Path) -> None:
    path = pascal_mt / f'human_parts/{FIRST}.mat'
    anno = loadmat(path)['anno']
    for thing in anno[0, 0][1][0]:
        for part in thing[3].ravel():
            part[1][:] = 0
    savemat(path, {'anno': anno})
    assert read_parts(path) is None


def test_annotations_of_another_kind_are_refused(pascal_mt: Path) -> None:
    path = pascal_mt / f'human_parts/{FIRST}.mat'
    anno = loadmat(path)['anno']
    anno[0, 0][1][0, 0][3][0, 2][0] = np.array(['wing'])
    savemat(path, {'anno': anno})
    with pytest.raises(ValueError, match=rf"{FIRST}\.mat: unknown part 'wing' of a person.*\['hair'"):
        maps_of(pascal_mt, FIRST)

    anno[0, 0][1][0, 0][3][0, 2][0], anno[0, 0][1][0, 0][3][0, 2][1] = np.array(['neck']), np.ones((3, 3))
    savemat(path, {'anno': anno})
    with pytest.raises(ValueError, match=rf"{FIRST}\.mat: part 'neck' .*\(3, 3\).* \(64, 64\)"):
        maps_of(pascal_mt, FIRST)

    savemat(path, {'anno': np.arange(4)})
    with pytest.raises(ValueError, match=rf'{FIRST}\.mat: `anno` .*PASCAL-Part'):
        maps_of(pascal_mt, FIRST)


def test_saliency_is_above_the_middle(pascal_mt: Path) -> None:
    saliency = maps_of(pascal_mt, FIRST)['saliency'][0]
    row = torch.arange(64)
    assert saliency.dtype == torch.float32
    # Grey 127 is below 127.5, 128 above.
    assert torch.equal(saliency[:, 0], (120 + row % 16 >= 128).float())


def test_normals_count_indoors(pascal_mt: Path) -> None:
    normals = maps_of(pascal_mt, FIRST)['normals']
    assert not normals[:, 40:].any(), 'the sky'
    torch.testing.assert_close(normals[:, :40].norm(dim=0), torch.ones(40, 64))
    # 127 of 255 is not quite the middle.
    up, facing = torch.tensor([0.0, -1, 0]), torch.tensor([0.0, 0, -1])
    assert (normals[:, :40, :32] - up[:, None, None]).abs().max() < 0.01
    assert (normals[:, :40, 32:] - facing[:, None, None]).abs().max() < 0.01
    turned = maps_of(pascal_mt, FIRST, normal_signs=(-1, -1, 1))['normals']
    assert torch.equal(turned, normals * torch.tensor([-1.0, -1, 1])[:, None, None])
    with pytest.raises(ValueError, match='normal_signs'):
        build(pascal_mt, normal_signs=(0, 1, 1))


def test_labels_that_say_where_normals_count_must_be_there_and_fit(pascal_mt: Path) -> None:
    path = pascal_mt / f'pascal-context/trainval/{FIRST}.mat'
    savemat(path, {'LabelMap': np.zeros((3, 4))})
    with pytest.raises(ValueError, match=rf'normals_distill/{FIRST}\.png: \(64, 64\) pixels, but LabelMap.*\(3, 4\)'):
        maps_of(pascal_mt, FIRST, tasks=alone('normals'))
    savemat(path, {'other': np.zeros((3, 4))})
    with pytest.raises(ValueError, match=rf"trainval/{FIRST}\.mat: no variable 'LabelMap', only \['other'\]"):
        maps_of(pascal_mt, FIRST, tasks=alone('normals'))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f'trainval/{FIRST}'):
        maps_of(pascal_mt, FIRST, tasks=alone('normals'))


def test_label_lists() -> None:
    assert len(set(INDOOR)) == 170 and min(INDOOR) >= 1 and max(INDOOR) <= 459 and list(INDOOR) == sorted(INDOOR)
    # chair, floor, person, sofa, tvmonitor, wall; not aeroplane, grass, sky, unknown, water.
    assert {72, 158, 284, 368, 427, 440} <= set(INDOOR) and not {2, 187, 360, 431, 445} & set(INDOOR)
    names = list(CLASSES['pascal_21'])
    assert [names[VOC_OF_CONTEXT[label]] for label in (2, 72, 284, 397, 427)] == [
        'aeroplane', 'chair', 'person', 'diningtable', 'tvmonitor'
    ]  # fmt: skip
    assert sorted(VOC_OF_CONTEXT.values()) == list(range(1, 21))


def test_edges_are_thin_borders_of_labels(pascal_mt: Path) -> None:
    edge = maps_of(pascal_mt, FIRST)['edge'][0]
    rows = torch.nonzero(edge.any(dim=1))[:, 0].tolist()
    # Borders are two pixels wide before they are thinned.
    assert len(rows) == 2 and rows[0] in (19, 20) and rows[1] in (39, 40)
    assert edge.dtype == torch.float32 and set(edge.unique().tolist()) == {0, 1}
    assert all(edge[row, 2:-2].all() for row in rows)


def test_edges_by_hand() -> None:
    labels = np.zeros((7, 7), dtype=np.uint16)
    assert not label_edges(labels).any()
    labels[:, 4:] = 459
    edges = label_edges(labels)
    # Columns 3 and 4 are borders; one of them is left. Ends may lose a pixel.
    assert not edges[:, [0, 1, 2, 5, 6]].any()
    assert (edges[1:-1].sum(axis=1) == 1).all() and edges.sum() in (5, 6, 7)
    # Evenly rising numbers have an edge only at the border of the image: the Laplacian takes labels as numbers.
    assert not label_edges(np.tile(np.arange(7, dtype=np.uint16), (7, 1)))[:, 1:-1].any()


def test_edges_that_are_stored_are_read(pascal_mt: Path) -> None:
    (pascal_mt / 'edge').mkdir()
    stored = np.zeros((64, 64), dtype=np.uint8)
    stored[5, :], stored[9, :] = 255, 1
    assert cv2.imwrite(str(pascal_mt / f'edge/{FIRST}.png'), stored)
    assert torch.equal(maps_of(pascal_mt, FIRST)['edge'][0], torch.from_numpy(stored > 0).float())
    assert maps_of(pascal_mt, DOG)['edge'].any(), 'the others come from LabelMap'


def test_labels_that_are_not_there_are_left_out(pascal_mt: Path) -> None:
    for folder in ('sal_distill', 'normals_distill', 'human_parts'):
        (pascal_mt / folder / f'{FIRST}.png').unlink(missing_ok=True)
        (pascal_mt / folder / f'{FIRST}.mat').unlink(missing_ok=True)
    assert set(maps_of(pascal_mt, FIRST)) == {'semseg', 'edge'}
    assert len(build(pascal_mt, tasks=alone('saliency'))) == 2


def test_a_coloured_mask_is_refused(pascal_mt: Path) -> None:
    assert cv2.imwrite(str(pascal_mt / f'semseg/VOC12/{FIRST}.png'), np.zeros((64, 64, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=rf'VOC12/{FIRST}\.png: an array of shape \(64, 64, 3\) instead of \(H, W\)'):
        build(pascal_mt)[0]


def test_absent_lists_and_images(pascal_mt: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'Context/test\.txt: no such list.* split'):
        build(pascal_mt, 'test')
    (pascal_mt / f'JPEGImages/{DOG}.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=DOG):
        build(pascal_mt)


def test_nothing_is_written(pascal_mt: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in pascal_mt.rglob('*')}
    assert len(list(build(pascal_mt))) == 3
    assert {path: path.stat().st_mtime_ns for path in pascal_mt.rglob('*')} == before


@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader'])
def test_the_configs_pipeline(pascal_mt: Path, loader: str) -> None:
    cfg = Config.fromfile(CONFIG)
    assert cfg.use_tasks == ['semseg', 'parts', 'normals']
    cfg.use_tasks = list(cfg.tasks)
    cfg = resolve(cfg)
    init_default_scope('mmmtl')
    data = DATASETS.build({**cfg[loader].dataset, 'data_root': str(pascal_mt)})

    assert list(data.tasks) == ['semseg', 'parts', 'saliency', 'normals', 'edge']
    assert data.tasks['normals'].loss_weight == pytest.approx(10 / 3)
    assert cfg.train_dataloader.batch_size == 16
    for item in data:
        assert item['inputs'].shape == (3, 512, 512)
        size = (512, 512) if loader == 'train_dataloader' else item['data_samples'].ori_shape
        for name, task in data.tasks.items():
            assert item['data_samples'].gt.get(name).shape == (task.map_channels, *size)


def test_a_config_can_take_some_of_the_tasks() -> None:
    cfg = Config.fromfile(CONFIG)
    cfg['use_tasks'] = ['semseg', 'normals']
    assert list(resolve(cfg).tasks) == ['semseg', 'normals']


def test_normals_weigh_as_in_the_papers() -> None:
    """MTI-Net weights the mean over x, y and z by 10; ours is a sum."""
    task = build_tasks({'normals': Config.fromfile(CONFIG).tasks['normals']}, 'the test')['normals']
    generator = torch.Generator().manual_seed(0)
    prediction, target = (
        torch.nn.functional.normalize(torch.randn(2, 3, 5, 5, generator=generator), dim=1) for _ in range(2)
    )
    (ours,) = task.loss(prediction, target).values()
    torch.testing.assert_close(task.loss_weight * ours, 10 * (prediction - target).abs().mean())
