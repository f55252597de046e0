"""Loading: one read per frame, one map per labelled task, and errors that name file and fix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmmtl.datasets.transforms import LoadFrames, LoadMaps, RandomFlip, Resize
from mmmtl.datasets.transforms.loading import check_order
from mmmtl.tasks import build_tasks

IMAGES = {
    'f0': np.full((4, 6, 3), 10, np.uint8),
    'f1': np.full((4, 6, 3), 20, np.uint8),
    'wide': np.zeros((4, 8, 3), np.uint8),
}
MAPS = {
    'labels': np.ones((4, 6), np.uint8),
    'metres': np.full((4, 6), 2.5, np.float32),
    'vectors': np.zeros((4, 6, 3), np.float32),
    'small': np.ones((2, 3), np.uint8),
    'flat': np.ones(24, np.uint8),
    'first': np.ones((1, 4, 6), np.uint8),
}


@pytest.fixture
def item(tasks: dict[str, Any]):
    """Make an item like a data set, and count the files that are read."""

    def make(frames: list[str], maps: dict[str, str], tasks: dict[str, Any] = tasks) -> tuple[dict[str, Any], list]:
        read: list = []

        def read_image(reference: str) -> np.ndarray:
            read.append(reference)
            return IMAGES[reference]

        def read_map(source: str, reference: str) -> np.ndarray:
            read.append((source, reference))
            return MAPS[reference]

        built = build_tasks(tasks, 'the test')
        return dict(frames=frames, maps=maps, tasks=built, read_image=read_image, read_map=read_map), read

    return make


def test_frames(item) -> None:
    results, read = item(['f1', 'f0', 'f1'], {})
    results = LoadFrames()(results)
    assert read == ['f1', 'f0']  # an empty slot repeats the current frame, which is read once
    assert [image[0, 0, 0] for image in results['imgs']] == [20, 10, 20]
    assert results['img_path'] == 'f1' and results['gt_maps'] == {}
    assert results['ori_shape'] == results['img_shape'] == (4, 6)


def test_frames_of_two_sizes(item) -> None:
    with pytest.raises(ValueError, match=r'wide: \(4, 8\) pixels, but the frame f0 .* \(4, 6\).*one size'):
        LoadFrames()(item(['wide', 'f0', 'f0'], {})[0])


def test_maps_of_the_labelled_tasks(item) -> None:
    results, read = item(['f0'], dict(semseg='labels', depth='metres', other='small'))
    results = LoadMaps()(LoadFrames()(results))
    assert sorted(results['gt_maps']) == ['depth', 'semseg']
    assert results['map_paths'] == dict(semseg='labels', depth='metres')
    assert results['map_shape'] == (4, 6)
    assert read == ['f0', ('semseg', 'labels'), ('depth', 'metres')]


def test_source_and_conversion(item) -> None:
    tasks = dict(
        pixels=dict(type='DisparityEstimation', source='disparity'),
        raw=dict(type='DisparityEstimation', unit='raw', source='disparity'),
    )
    results = LoadMaps()(LoadFrames()(item(['f0'], dict(disparity='metres'), tasks)[0]))
    assert (results['gt_maps']['pixels'] == 2.5).all()
    assert np.allclose(results['gt_maps']['raw'], 641 / 65535)


@pytest.mark.parametrize(
    ('maps', 'message'),
    [
        (dict(semseg='small'), r"small: the map of task 'semseg' has \(2, 3\) pixels, its image f0 has \(4, 6\)"),
        (dict(semseg='vectors'), r"vectors: 3 channels, but a map of task 'semseg' \(SemanticSegmentation\) has 1"),
        (dict(normals='metres'), r"metres: 1 channels, but a map of task 'normals' \(SurfaceNormals\) has 3"),
        (dict(semseg='flat'), r'flat: an array of shape \(24,\), but a map is \(H, W\)'),
        (dict(semseg='first'), r'first: an array of shape \(1, 4, 6\), but a map is \(H, W\)'),
        (dict(semseg='metres'), r"metres: float32 values, but a map of task 'semseg'.*integers; write labels as uint8"),
    ],
)
def test_wrong_maps_are_named(item, maps: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoadMaps()(LoadFrames()(item(['f0'], maps)[0]))


def test_maps_are_loaded_before_the_image_is_moved() -> None:
    for allowed in ([LoadFrames(), Resize((8, 12)), LoadMaps(), RandomFlip()], [LoadFrames(), RandomFlip()], []):
        check_order(allowed)
    with pytest.raises(ValueError, match='RandomFlip would move .* put LoadMaps before it'):
        check_order([LoadFrames(), RandomFlip(), LoadMaps()])


@pytest.mark.parametrize('image', [np.zeros((4, 6, 3), np.float32), np.zeros((4, 6), np.uint8)], ids=['float', 'grey'])
def test_what_read_image_returns_is_checked(item, monkeypatch: pytest.MonkeyPatch, image: np.ndarray) -> None:
    monkeypatch.setitem(IMAGES, 'f0', image)
    results, _ = item(['f0'], {})
    with pytest.raises(ValueError, match=rf'f0: `read_image` returned {image.dtype} of shape .* uint8 \(H, W, 3\)'):
        LoadFrames()(results)
