"""Virtual KITTI 2: colours, centimetres, motion and the parts of the data set, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmmtl.datasets import VirtualKITTI2
from mmmtl.datasets.virtual_kitti2 import SCENES, VARIANTS

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes='vkitti_14'), depth=dict(type='DepthEstimation', max_depth=80.0)
)
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
# RGB of the official colors.txt, Undefined last.
COLOURS = [
    (210, 0, 200), (90, 200, 255), (0, 199, 0), (90, 240, 0), (140, 140, 140), (100, 60, 100), (250, 100, 255),
    (255, 255, 0), (200, 200, 0), (255, 130, 0), (80, 80, 80), (160, 60, 60), (255, 127, 80), (0, 139, 139), (0, 0, 0),
]  # fmt: skip
SIZE = (3, 5)


def add(root: Path, write_image, video: str, times: range, *, labels: str = 'classSegmentation') -> None:
    """Frames of grey 10 * number, a map of all colours, depth of 0, 1, 12345 and 65535 cm, and motion by (1, 0.5)."""
    scene, variant, camera = video.split('/')
    frames = root / scene / variant / 'frames'
    for time in times:
        write_image(frames / f'rgb/{camera}/rgb_{time:05d}.jpg', np.full((*SIZE, 3), 10 * time, np.uint8))
        rgb = np.array(COLOURS, np.uint8).reshape(*SIZE, 3)
        write_image(frames / f'{labels}/{camera}/classgt_{time:05d}.png', rgb[..., ::-1])
        depth = np.resize(np.array([0, 1, 12345, 65535], np.uint16), SIZE)
        write_image(frames / f'depth/{camera}/depth_{time:05d}.png', depth)


@pytest.fixture
def vkitti(tmp_path: Path, write_image) -> Path:
    """Two variants of Scene01, one of Scene20, the left camera; a copy with its folder of labels in lower case."""
    add(tmp_path, write_image, 'Scene01/clone/Camera_0', range(6))
    add(tmp_path, write_image, 'Scene01/fog/Camera_0', range(5), labels='classsegmentation')
    add(tmp_path, write_image, 'Scene20/clone/Camera_0', range(5))
    return tmp_path


def build(root: Path, split: str | None = 'train', **kwargs: Any) -> VirtualKITTI2:
    return VirtualKITTI2(root, split=split, **{'pipeline': LOAD, 'metainfo': dict(tasks=TASKS), **kwargs})


def videos(data: VirtualKITTI2) -> list[str]:
    return sorted({data.get_data_info(i)['video'] for i in range(len(data))})


def test_the_labels(vkitti: Path) -> None:
    item = build(vkitti)[0]
    assert item['gt_maps']['semseg'].ravel().tolist() == [*range(14), 255]
    depth = item['gt_maps']['depth']
    assert depth.dtype == np.float32
    assert np.allclose(depth.ravel()[:5], [0, 0.01, 123.45, 0, 0], rtol=1e-6, atol=0)
    names = build(vkitti).tasks['semseg'].classes
    assert (names[0], names[5], names[12], names[13]) == ('Terrain', 'Road', 'Car', 'Van')


def test_a_scene_is_in_one_part_with_all_its_variants(vkitti: Path) -> None:
    train = ['Scene01/clone/Camera_0', 'Scene01/fog/Camera_0']
    assert videos(build(vkitti)) == train
    assert videos(build(vkitti, 'test')) == ['Scene20/clone/Camera_0']
    assert videos(build(vkitti, None)) == [*train, 'Scene20/clone/Camera_0']
    assert videos(build(vkitti, 'test', test_scenes=['Scene01'])) == train
    assert videos(build(vkitti, variants=['fog'])) == train[1:]
    assert len(SCENES) == 5 and len(set(VARIANTS)) == 10


def test_clips(vkitti: Path) -> None:
    data = build(vkitti, clip=dict(interval=5, offsets='all', missing='skip'))
    found = [(item['video'], item['time'], item['offset'], [image[0, 0, 0] for image in item['imgs']]) for item in data]
    assert [entry[:3] for entry in found] == [
        *(('Scene01/clone/Camera_0', time, offset) for time in (4, 5) for offset in range(5)),
        *(('Scene01/fog/Camera_0', 4, offset) for offset in range(5)),
    ]
    # Last key frame, last non-key frame, this one; an empty slot has this one.
    assert [entry[3] for entry in found[5:10]] == [
        [50, 40, 50], [40, 30, 50], [30, 40, 50], [20, 40, 50], [10, 40, 50],
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match=r'Scene01/clone/frames/rgb/Camera_0: frame -1 .* is missing'):
        build(vkitti, clip=dict(interval=2, offsets='all'))
    with pytest.raises(FileNotFoundError, match=r"frame -1 of video 'Scene01/fog/Camera_0'"):
        build(vkitti, variants=['fog'], clip=dict(interval=6, offsets='all'))


def test_motion(vkitti: Path) -> None:
    data = build(vkitti)
    height, width = SIZE
    raw = np.zeros((*SIZE, 3), np.uint16)  # BGR
    # 1.5 pixels right and 0.5 up: R = (1.5 / (w - 1) + 1) / 2 * 65535, G = (-0.5 / (h - 1) + 1) / 2 * 65535.
    raw[1, 2] = 1, round((-0.5 / (height - 1) + 1) / 2 * 65535), round((1.5 / (width - 1) + 1) / 2 * 65535)
    raw[0, 0] = 0, 65535, 65535
    raw[2, 4] = 65535, 0, 65535
    path = vkitti / 'Scene01/clone/frames/forwardflow/Camera_0/flow_00003.png'
    path.parent.mkdir(parents=True)
    assert cv2.imwrite(str(path), raw)
    flow, valid = build(vkitti).read_flow('Scene01/clone/Camera_0', 3)
    assert flow.dtype == np.float32 and flow.shape == (*SIZE, 2) and valid.dtype == np.bool_
    assert np.argwhere(valid).tolist() == [[1, 2], [2, 4]]
    assert np.allclose(flow[1, 2], [1.5, -0.5], atol=1e-4)
    assert np.allclose(flow[2, 4], [4, -2], atol=1e-5)
    assert not flow[~valid].any()
    with pytest.raises(FileNotFoundError, match=r"no forwardFlow of frame 5 of video 'Scene01/clone/Camera_0'; unpack"):
        data.read_flow('Scene01/clone/Camera_0', 5)


def test_an_unknown_colour_is_named(vkitti: Path, write_image) -> None:
    path = next((vkitti / 'Scene01/clone/frames/classSegmentation/Camera_0').iterdir())
    rgb = np.full((*SIZE, 3), (0, 199, 0), np.uint8)
    rgb[0, 0] = 0, 199, 1
    write_image(path, rgb[..., ::-1])
    with pytest.raises(ValueError, match=rf'{path.name}: 1 colours .*RGB \[\(0, 199, 1\)\]; check'):
        build(vkitti)[int(path.stem[-5:])]


def test_depth_of_another_kind_is_named(vkitti: Path, write_image) -> None:
    path = write_image(vkitti / 'Scene01/clone/frames/depth/Camera_0/depth_00000.png', np.zeros(SIZE, np.uint8))
    with pytest.raises(ValueError, match=rf'{path.name}: uint8 instead of uint16'):
        build(vkitti)[0]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(split='val'), r"split must be 'train', 'test' or None, not 'val'"),
        (dict(test_scenes=['Scene03']), r"test_scenes must be some of \['Scene01', .*not \['Scene03'\]"),
        (dict(test_scenes='Scene20'), r"test_scenes must be .* not 'Scene20'"),
        (dict(variants=[]), r"variants must be some of \['clone', "),
        (dict(cameras=[2]), r'cameras must be some of \[0, 1\], not \[2\]'),
    ],
)
def test_wrong_arguments(vkitti: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(vkitti, **arguments)


def test_what_is_not_there(vkitti: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: .*\['Scene01', "):
        build(vkitti / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r'Scene01/rain: .*`variants`'):
        build(vkitti, variants=['rain'])
    with pytest.raises(ValueError, match='VirtualKITTI2.*label'):
        build(vkitti, cameras=[1])
