"""Clips from stills, against an analytic scene seen by the turned camera."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from mmmtl.datasets import Clip
from mmmtl.datasets.transforms import Resize, StillToClip
from mmmtl.datasets.transforms.geometric import warp_image
from mmmtl.datasets.transforms.still_to_clip import intrinsics

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=['floor', 'left', 'right']),
    depth=dict(type='DepthEstimation', max_depth=100.0),
    disparity=dict(type='DisparityEstimation'),
    normals=dict(type='SurfaceNormals'),
)
SIZE, FOV = (90, 120), 60.0
NONE = np.zeros(3)
# A floor 1.5 m below and two walls that meet ahead: normal . X = -distance.
PLANES = np.array([[0.0, -1.0, 0.0], [0.6, 0.0, -0.8], [-0.8, 0.0, -0.6]])
DISTANCES = np.array([1.5, 3.0, 3.5])


def render(turn: np.ndarray) -> dict[str, np.ndarray]:
    """Maps of the scene for a camera in which old directions d have the coordinates turn @ d."""
    rows, columns = np.indices(SIZE)
    rays = np.stack([columns, rows, np.ones(SIZE)], axis=-1) @ np.linalg.inv(intrinsics(SIZE, FOV)).T
    normals = PLANES @ turn.T
    facing = rays @ normals.T
    depths = np.where(facing < 0, -DISTANCES / np.minimum(facing, -1e-9), np.inf)
    label = depths.argmin(axis=-1)
    depth = depths.min(axis=-1)
    maps = dict(semseg=label.astype(np.uint8), depth=depth, disparity=10 / depth, normals=normals[label])
    return {name: array if name == 'semseg' else array.astype(np.float32) for name, array in maps.items()}


def rotation(*degrees: float) -> np.ndarray:
    return cv2.Rodrigues(np.deg2rad(degrees))[0]


def pixel_map(turn: np.ndarray) -> np.ndarray:
    camera = intrinsics(SIZE, FOV)
    return camera @ turn @ np.linalg.inv(camera)


@pytest.fixture
def still() -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8), (0, 0), 2)


@pytest.fixture
def make_clip(make_results, still: np.ndarray):
    """Make a clip of the scene, from scripted degrees (turn, speed, acceleration) or a real generator."""

    def make(rng: Any, *, offset: int = 2, interval: int = 5, **limits: float) -> dict[str, Any]:
        slots = Clip(interval=interval).slots(offset)
        results = make_results([still], render(np.eye(3)), rng=rng, tasks=TASKS, slots=slots)
        return StillToClip(fov=FOV, **limits)(results)

    return make


def test_intrinsics_by_hand() -> None:
    # 90 degrees: the focal length is half the width; pixel centres are at integers.
    assert np.allclose(intrinsics((4, 8), 90.0), [[4, 0, 3.5], [0, 4, 1.5], [0, 0, 1]])


def test_no_motion_changes_nothing(make_clip, still: np.ndarray) -> None:
    results = make_clip(np.random.default_rng(0), max_speed=0.0, max_turn=0.0)
    assert len(results['imgs']) == 3 and all(np.array_equal(image, still) for image in results['imgs'])
    for name, array in render(np.eye(3)).items():
        assert results['gt_maps'][name].dtype == array.dtype
        assert np.allclose(results['gt_maps'][name], array, rtol=1e-6, atol=0)


@pytest.mark.parametrize('turn', [(0, 9, 0), (-7, 0, 0), (0, 0, 12), (5, -6, 4)])
def test_maps_are_those_of_the_turned_camera(make_clip, scripted, turn: tuple[float, float, float]) -> None:
    results = make_clip(scripted(np.array(turn), NONE, NONE))
    moved, expected, before = results['gt_maps'], render(rotation(*turn)), render(np.eye(3))
    # Compare inside the still and away from edges, where nearest neighbour may take the other plane.
    kernel = np.ones((5, 5), np.uint8)
    flat = cv2.erode(expected['semseg'], kernel) == cv2.dilate(expected['semseg'], kernel)
    labelled = moved['semseg'] != 255
    clear = flat & (cv2.erode(labelled.astype(np.uint8), kernel) == 1)
    assert clear.mean() > 0.5 and labelled.mean() < 0.99
    assert np.array_equal(moved['semseg'][clear], expected['semseg'][clear])
    assert np.abs(moved['normals'] - expected['normals'])[clear].max() < 1e-6
    ratio = (moved['depth'] / expected['depth'])[clear]
    # Off by half a pixel at most; without the change of axis it would be off by several times that.
    assert np.abs(ratio - 1).max() < 0.02
    assert np.abs(ratio.mean() - 1) < 5e-4
    assert np.abs(moved['disparity'] * moved['depth'] / 10 - 1)[clear].max() < 1e-5
    assert np.abs(expected['depth'] / before['depth'] - 1)[clear].max() > 0.1


def test_depth_follows_the_closed_form(make_results, scripted) -> None:
    # Of a wall straight ahead at 2 m, turned by a yaw: z' = 2 / (n' . ray) with n' = turn @ (0, 0, 1).
    turn = rotation(0, 10, 0)
    maps = dict(depth=np.full(SIZE, 2.0, np.float32))
    results = make_results([np.zeros((*SIZE, 3), np.uint8)], maps, tasks=TASKS, slots=(None, -1, 0))
    results['rng'] = scripted(np.array([0, 10, 0]), NONE, NONE)
    depth = StillToClip(fov=FOV)(results)['gt_maps']['depth']
    rows, columns = np.indices(SIZE)
    rays = np.stack([columns, rows, np.ones(SIZE)], axis=-1) @ np.linalg.inv(intrinsics(SIZE, FOV)).T
    flat = 2 / (rays @ turn[:, 2])
    # Constant old depth: nearest neighbour changes nothing, so this is exact; the depth along the new axis is not 2.
    assert np.allclose(depth[depth > 0], flat[depth > 0], rtol=1e-5)
    assert 0.9 < flat.min() / 2 < 0.93 and 1.1 < flat.max() / 2 < 1.15
    assert (depth > 0).mean() > 0.8


def test_outside_is_unlabelled(make_clip, scripted) -> None:
    turn = rotation(4, -6, 3)
    results = make_clip(scripted(np.array([4, -6, 3]), NONE, NONE))
    rows, columns = np.indices(SIZE)
    back = np.stack([columns, rows, np.ones(SIZE)], axis=-1) @ np.linalg.inv(pixel_map(turn)).T
    x, y = back[..., 0] / back[..., 2], back[..., 1] / back[..., 2]
    beyond = np.maximum.reduce([-0.5 - x, x - SIZE[1] + 0.5, -0.5 - y, y - SIZE[0] + 0.5])
    outside = beyond > 0.05
    inside = beyond < -0.05
    maps = results['gt_maps']
    assert 0.05 < outside.mean() < 0.4
    assert (maps['semseg'][outside] == 255).all() and (maps['semseg'][inside] != 255).all()
    for name in ('depth', 'disparity', 'normals'):
        assert not maps[name][outside].any() and maps[name][inside].any(axis=-1).all()
    assert min(image.min() for image in results['imgs']) > 0  # mirrored, not black


def test_slots_in_order_and_maps_of_the_current_frame(make_clip, scripted, still: np.ndarray) -> None:
    turn, speed, acceleration = np.array([1.0, 2.0, 0.5]), np.array([0.5, -1.0, 0.25]), np.array([0.1, 0.2, 0.0])
    results = make_clip(scripted(turn, speed, acceleration), offset=3)
    # Slots (-3, -1, 0): the last key frame three back, the last non-key frame one back, the current frame.
    angles = [turn - 3 * speed + 4.5 * acceleration, turn - speed + 0.5 * acceleration, turn]
    for image, angle in zip(results['imgs'], angles, strict=True):
        assert np.array_equal(image, warp_image(still, pixel_map(rotation(*angle))))
    labels = make_clip(scripted(turn, NONE, NONE), offset=0)['gt_maps']['semseg']
    assert np.array_equal(results['gt_maps']['semseg'], labels)
    # An empty slot repeats the current frame.
    key = make_clip(scripted(turn, speed, acceleration), offset=0)['imgs']
    assert np.array_equal(key[0], key[2]) and not np.array_equal(key[1], key[2])


def test_picture_and_labels_move_together(make_results, scripted) -> None:
    label = render(np.eye(3))['semseg']
    results = make_results([np.dstack([label * 100] * 3)], dict(semseg=label), tasks=TASKS, slots=(-2, -1, 0))
    results['rng'] = scripted(np.array([3.0, -5.0, 4.0]), np.array([1.0, 1.0, 1.0]), NONE)
    results = StillToClip(fov=FOV)(results)
    moved = results['gt_maps']['semseg']
    kernel = np.ones((3, 3), np.uint8)
    clear = (cv2.erode(moved, kernel) == cv2.dilate(moved, kernel)) & (moved != 255)
    assert clear.mean() > 0.6
    assert np.array_equal(results['imgs'][2][..., 0][clear], moved[clear] * 100)
    assert not np.array_equal(results['imgs'][1][..., 0][clear], moved[clear] * 100)


def test_a_resize_to_another_shape_changes_nothing(make_results, scripted) -> None:
    found = []
    for before, after in ((SIZE, (45, 120)), ((45, 120), (45, 120))):
        maps = dict(depth=np.tile(np.linspace(2, 4, SIZE[1], dtype=np.float32), (SIZE[0], 1)))
        results = make_results([np.zeros((*SIZE, 3), np.uint8)], maps, tasks=TASKS, slots=(-2, -1, 0))
        results['rng'] = scripted(np.array([3.0, -5.0, 20.0]), NONE, NONE)
        found.append(Resize(after)(StillToClip(fov=FOV)(Resize(before)(results)))['gt_maps']['depth'])
    both = (found[0] > 0) & (found[1] > 0)
    assert both.mean() > 0.6
    # Off by a pixel at most; with square pixels after the resize it would be off by several times that.
    assert np.abs(found[0][both] / found[1][both] - 1).max() < 0.02


@pytest.mark.parametrize('seed', range(5))
def test_the_path_is_smooth_and_within_its_limits(seed: int) -> None:
    transform = StillToClip(max_speed=1.5, max_turn=3.0)
    path = transform.path(np.random.default_rng(seed), [*range(-4, 1)])
    angles = np.rad2deg([cv2.Rodrigues(turn)[0][:, 0] for turn in path])
    steps = np.diff(angles, axis=0)
    assert np.abs(angles[-1]).max() <= 3.0 and np.abs(np.diff(steps, axis=0)).max() <= 1.5 / 4 + 1e-9
    # The speed at the current frame is that of its last step, but for half a frame's acceleration.
    assert np.abs(steps[-1]).max() <= 1.5 * (1 + 1 / 8) and np.abs(steps).max() > 0.1
    for turn in path:
        assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)


def test_the_draw_decides(make_clip) -> None:
    first, again, other = (make_clip(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first['imgs'], again['imgs'], strict=True))
    assert not np.array_equal(first['imgs'][2], other['imgs'][2])


def test_without_slots_it_makes_the_current_frame_alone(make_clip, make_results, scripted, still: np.ndarray) -> None:
    turn, speed, acceleration = np.array([1.0, 2.0, 0.5]), np.array([0.5, -1.0, 0.25]), np.array([0.1, 0.2, 0.0])
    results = make_results([still], render(np.eye(3)), rng=scripted(turn, speed, acceleration), tasks=TASKS)
    results = StillToClip(fov=FOV)(results)
    (image,) = results['imgs']
    assert np.array_equal(image, warp_image(still, pixel_map(rotation(*turn))))
    # What a video model sees and learns from as its current frame.
    clip = make_clip(scripted(turn, speed, acceleration))
    assert np.array_equal(image, clip['imgs'][2])
    for name, array in clip['gt_maps'].items():
        assert np.array_equal(results['gt_maps'][name], array)


@pytest.mark.parametrize('extra', [{}, dict(slots=(-2, -1, 0))])
def test_needs_a_still(make_results, still: np.ndarray, extra: dict) -> None:
    results = make_results([still] * 3, {}, **extra)
    with pytest.raises(ValueError, match=r'frame\.png: StillToClip .* clip=dict\(still=True'):
        StillToClip()(results)
