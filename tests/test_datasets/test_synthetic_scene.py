"""The synthetic world: closed forms, consistency in time, difficulty for colour alone, speed."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from mmmtl.datasets.synthetic import RenderedFrame, make_scene, render
from mmmtl.datasets.synthetic.geometry import PosedSolid
from mmmtl.datasets.synthetic.scene import (
    BALL,
    BOX,
    GROUND,
    PILLAR,
    SKY,
    WALL,
    CameraPath,
    Facade,
    Motion,
    Scene,
    Shell,
    Solid,
    Texture,
)
from mmmtl.tasks.classes import CLASSES as CLASS_LISTS

CLASSES = tuple(CLASS_LISTS['synthetic'])
TEXTURE = Texture('checker', ((0.8, 0.2, 0.2), (0.2, 0.2, 0.8)))
HEIGHT, WIDTH = 65, 129
SEEDS = range(8)


def scene_of(*solids: Solid, shell: Shell | None = None, height: float = 0.0, pitch: float = 0.0) -> Scene:
    """A scene by hand; without more, the camera is at the origin and looks along z."""
    camera = CameraPath(centre=(0.0, 0.0), height=height, gaze=(0.0, pitch, 0.0))
    return Scene(seed=0, camera=camera, solids=solids, sky=TEXTURE, shell=shell)


def rays_of(frame: RenderedFrame) -> np.ndarray:
    """Rays (H, W, 3) float64 with z = 1 in the camera frame, from the intrinsics."""
    rows, columns = np.mgrid[: frame.depth.shape[0], : frame.depth.shape[1]]
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    return pixels @ np.linalg.inv(frame.intrinsics).T


def points_of(frame: RenderedFrame) -> np.ndarray:
    """World points (H, W, 3) float64 behind the pixels."""
    return (rays_of(frame) * frame.depth[..., None]) @ frame.pose[:3, :3].T + frame.pose[:3, 3]


def digest(seed: int) -> str:
    """A hash of a small frame's image and maps."""
    frame = render(make_scene(seed), 7, 32, 64)
    maps = frame.image, frame.semseg, frame.depth, frame.normals
    return hashlib.sha256(b''.join(m.tobytes() for m in maps)).hexdigest()


def test_sphere_equals_the_closed_form() -> None:
    centre, radius = np.array([0.5, -0.3, 5.0]), 1.2
    frame = render(scene_of(Solid('sphere', BALL, tuple(centre), (radius,) * 3, TEXTURE)), 0, HEIGHT, WIDTH)
    rays = rays_of(frame)
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    inside = b * b - a * c
    hit = inside > 0
    depth = (b - np.sqrt(np.where(hit, inside, 0))) / a
    normals = (rays * depth[..., None] - centre) / radius
    clear = np.abs(inside) > 1e-3
    assert ((frame.semseg == BALL) == hit)[clear].all() and hit.sum() > 400
    assert np.abs(frame.depth - depth)[hit & clear].max() < 1e-4
    assert np.abs(frame.normals - normals)[hit & clear].max() < 1e-3
    assert (frame.semseg == SKY)[~hit & clear].all() and not frame.depth[~hit & clear].any()


def test_sphere_straight_ahead_by_hand() -> None:
    frame = render(scene_of(Solid('sphere', BALL, (0.0, 0.0, 5.0), (1.0,) * 3, TEXTURE)), 0, HEIGHT, WIDTH)
    assert frame.depth[HEIGHT // 2, WIDTH // 2] == pytest.approx(4.0, abs=1e-5)
    np.testing.assert_allclose(frame.normals[HEIGHT // 2, WIDTH // 2], (0, 0, -1), atol=1e-5)


@pytest.mark.parametrize('pitch', [0.0, 0.2, -0.3])
def test_ground_equals_the_closed_form(pitch: float) -> None:
    shell = Shell((-1e4, -1e4), (1e4, 1e4), TEXTURE)
    frame = render(scene_of(shell=shell, height=1.5, pitch=pitch), 0, HEIGHT, WIDTH)
    # Pitch looks up: the camera's y and z axes in the world are (0, cos, sin) and (0, -sin, cos), y down.
    down = np.array([0.0, math.cos(pitch), -math.sin(pitch)])
    descent = rays_of(frame) @ down
    ground = descent > 0.01
    assert (frame.semseg[ground] == GROUND).all() and ground.sum() > 1000
    np.testing.assert_allclose(frame.depth[ground], 1.5 / descent[ground], rtol=1e-4)
    np.testing.assert_allclose(frame.normals[ground], np.broadcast_to(-down, frame.normals.shape)[ground], atol=1e-6)
    assert (frame.semseg[descent < 0] == SKY).all()


def test_box_and_turned_box_by_hand() -> None:
    middle = HEIGHT // 2, WIDTH // 2
    flat = render(scene_of(Solid('box', BOX, (0.0, 0.0, 4.0), (0.5, 0.6, 0.7), TEXTURE)), 0, HEIGHT, WIDTH)
    assert flat.depth[middle] == pytest.approx(3.3, abs=1e-5) and flat.semseg[middle] == BOX
    np.testing.assert_allclose(flat.normals[middle], (0, 0, -1), atol=1e-6)
    box = Solid('box', BOX, (0.1, 0.0, 4.0), (0.5,) * 3, TEXTURE, yaw=math.pi / 4)
    turned = render(scene_of(box), 0, HEIGHT, WIDTH)
    # The edge is at (0.1, 4 - sqrt(0.5)); the face left of it recedes at 45 degrees.
    assert turned.depth[middle] == pytest.approx(4.1 - math.sqrt(0.5), abs=1e-5)
    np.testing.assert_allclose(turned.normals[middle], (-math.sqrt(0.5), 0, -math.sqrt(0.5)), atol=1e-5)


def test_cylinder_side_and_lid_by_hand() -> None:
    side = render(scene_of(Solid('cylinder', PILLAR, (0.0, 0.0, 3.0), (0.4, 1.0, 0.4), TEXTURE)), 0, HEIGHT, WIDTH)
    row, column = HEIGHT // 2, WIDTH // 2
    assert side.depth[row, column] == pytest.approx(2.6, abs=1e-5)
    np.testing.assert_allclose(side.normals[row, column], (0, 0, -1), atol=1e-5)
    np.testing.assert_allclose(side.depth[row - 20 : row + 21, column], 2.6, atol=1e-5)
    lid = render(scene_of(Solid('cylinder', PILLAR, (0.0, 1.5, 3.0), (0.8, 0.5, 0.8), TEXTURE)), 0, HEIGHT, WIDTH)
    seen_row = row + round(1 / 3 * lid.intrinsics[1, 1])
    assert lid.depth[seen_row, column] == pytest.approx(lid.intrinsics[1, 1] / (seen_row - row), rel=1e-5)
    np.testing.assert_allclose(lid.normals[seen_row, column], (0, -1, 0), atol=1e-6)


def test_facades_end_at_their_height_and_at_their_ends() -> None:
    facades = (Facade('far', -math.inf, 0.0, 2.0, TEXTURE), Facade('far', 0.0, math.inf, 3.0, TEXTURE))
    shell = Shell((-50.0, -50.0), (50.0, 6.0), TEXTURE, facades)
    frame = render(scene_of(shell=shell, height=1.0), 0, HEIGHT, WIDTH)
    points = rays_of(frame) * 6.0
    above_ground = points[..., 1] < 1.0
    top = np.where(points[..., 0] < 0, 1.0, 2.0)
    clear = (np.abs(points[..., 1] + top) > 1e-3) & (np.abs(points[..., 1] - 1) > 1e-3)
    expected = np.where(~above_ground, GROUND, np.where(-points[..., 1] <= top, WALL, SKY))
    assert (frame.semseg == expected)[clear].all() and set(np.unique(frame.semseg)) == {GROUND, WALL, SKY}
    np.testing.assert_allclose(frame.depth[frame.semseg == WALL], 6.0, rtol=1e-6)


def test_moving_solid_is_where_its_motion_says() -> None:
    motion = Motion(direction=(0.0, 1.0), amplitude=1.0, rate=0.3, phase=0.2, turn=0.1)
    scene = scene_of(Solid('sphere', BALL, (0.0, 0.0, 5.0), (1.0,) * 3, TEXTURE, motion=motion))
    for t in (0, 3, 11):
        frame = render(scene, t, HEIGHT, WIDTH)
        assert frame.depth[HEIGHT // 2, WIDTH // 2] == pytest.approx(4 + math.sin(0.3 * t + 0.2), abs=1e-5)
        assert (frame.moving == (frame.semseg == BALL)).all()


@pytest.mark.parametrize('seed', SEEDS)
def test_maps_keep_their_contract(seed: int) -> None:
    frame = render(make_scene(seed), 5, 64, 128)
    sky, length = frame.semseg == SKY, np.linalg.norm(frame.normals, axis=-1)
    assert frame.image.shape == (64, 128, 3) and frame.normals.shape == (64, 128, 3)
    assert [m.dtype for m in (frame.image, frame.semseg, frame.depth, frame.normals, frame.moving)] == [
        np.uint8,
        np.uint8,
        np.float32,
        np.float32,
        bool,
    ]
    assert frame.semseg.max() < len(CLASSES)
    assert ((frame.depth == 0) == sky).all() and ((length == 0) == sky).all()
    assert np.isfinite(frame.depth).all() and frame.depth[~sky].min() > 0.2 and frame.depth.max() < 20
    np.testing.assert_allclose(length[~sky], 1, atol=1e-5)
    assert (frame.normals * rays_of(frame)).sum(-1)[~sky].max() < 1e-3
    assert frame.image.std() > 10


@pytest.mark.parametrize('seed', SEEDS)
def test_static_points_land_on_the_same_surface_later(seed: int) -> None:
    scene = make_scene(seed)
    now, later = render(scene, 10, 96, 192), render(scene, 12, 96, 192)
    points = points_of(now)[(now.depth > 0) & ~now.moving]
    inside = (points - later.pose[:3, 3]) @ later.pose[:3, :3]
    ahead = inside[:, 2] > 0.1
    points, inside = points[ahead], inside[ahead]
    pixels = (inside / inside[:, 2:]) @ later.intrinsics.T
    columns, rows = np.rint(pixels[:, :2]).astype(int).T
    seen = (columns >= 0) & (columns < 192) & (rows >= 0) & (rows < 96)
    points, rows, columns = points[seen], rows[seen], columns[seen]
    # The nearest pixel's ray meets the surface within half a pixel: the tangent plane there holds the point.
    normals = later.normals.astype(np.float64)[rows, columns] @ later.pose[:3, :3].T
    gap = ((points - points_of(later)[rows, columns]) * normals).sum(-1)
    clear = ~_outlines(later)[rows, columns] & ~later.moving[rows, columns]
    assert clear.sum() > 3000
    # A point may be hidden two frames later (negative gap), but never float in front of the surface there.
    assert (gap[clear] < 0.01).mean() > 0.999
    assert (np.abs(gap[clear]) < 0.01).mean() > 0.94
    assert np.median(np.abs(gap[clear])) < 1e-4


def _outlines(frame: RenderedFrame) -> np.ndarray:
    """Pixels (H, W) whose 3x3 neighbourhood holds a jump in depth, a sharp edge or sky."""
    near = [np.roll(frame.normals, shift, axis=(0, 1)) for shift in np.ndindex(3, 3)]
    centre = np.roll(frame.normals, (1, 1), axis=(0, 1))
    edge = np.any([(n * centre).sum(-1) < 0.9 for n in near], axis=0)
    depth = np.stack([np.roll(frame.depth, shift, axis=(0, 1)) for shift in np.ndindex(3, 3)])
    edge |= depth.max(0) > 1.15 * depth.min(0)
    return np.roll(edge, (-1, -1), axis=(0, 1))


@pytest.mark.parametrize('seed', SEEDS)
def test_normals_agree_with_the_depth_of_neighbours(seed: int) -> None:
    frame = render(make_scene(seed), 20, 96, 192)
    points = rays_of(frame) * frame.depth[..., None]
    crossed = np.cross(points[1:, :-1] - points[:-1, :-1], points[:-1, 1:] - points[:-1, :-1])
    crossed /= np.maximum(np.linalg.norm(crossed, axis=-1, keepdims=True), 1e-12)
    corner = frame.normals[:-1, :-1]
    same = (frame.depth[:-1, :-1] > 0) & (np.abs(frame.normals[1:, :-1] - corner).max(-1) < 1e-6)
    same &= np.abs(frame.normals[:-1, 1:] - corner).max(-1) < 1e-6
    for label in (frame.semseg[1:, :-1], frame.semseg[:-1, 1:]):
        same &= label == frame.semseg[:-1, :-1]
    same &= np.isin(frame.semseg[:-1, :-1], (BALL, BOX, PILLAR), invert=True)
    angles = np.degrees(np.arccos(np.clip((crossed * corner).sum(-1)[same], -1, 1)))
    assert same.sum() > 1500
    assert np.percentile(angles, 99) < 0.5


def test_a_seed_is_a_scene() -> None:
    assert make_scene(3) == make_scene(3) and digest(3) == digest(3)
    assert len({digest(seed) for seed in SEEDS}) == len(SEEDS)
    code = (
        'import sys; sys.path[:0] = [sys.argv[1], sys.argv[2]]; import test_synthetic_scene as here; '
        'print(here.digest(3))'
    )
    here = os.path.dirname(__file__)
    run = subprocess.run(
        [sys.executable, '-c', code, here, os.path.join(here, '..', '..')],
        check=True,
        text=True,
        capture_output=True,
        env={**os.environ, 'PYTHONHASHSEED': '7'},
    )
    assert run.stdout.split()[-1] == digest(3)


def test_screen_bounds_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    culled = [render(make_scene(seed), 30, 48, 96) for seed in SEEDS]
    monkeypatch.setattr(PosedSolid, 'screen_bounds', lambda self, pose, intrinsics, h, w: (0, h, 0, w))
    for seed, frame in zip(SEEDS, culled, strict=True):
        full = render(make_scene(seed), 30, 48, 96)
        np.testing.assert_array_equal(frame.semseg, full.semseg)
        np.testing.assert_array_equal(frame.depth, full.depth)


def test_screen_bounds_hold_every_pixel_on_the_outline() -> None:
    """The near face of a box, 4 m away, ends exactly at columns 26 and 38 and at rows 10 and 22."""
    box = PosedSolid(Solid('box', BOX, (0.0, 0.0, 5.0), (1.0,) * 3, TEXTURE), 0, np.zeros(3))
    camera = np.array([[24.0, 0, 32], [0, 24, 16], [0, 0, 1]])
    assert box.screen_bounds(np.eye(4), camera, 33, 65) == (10, 23, 26, 39)


def test_camera_keeps_clear_and_moves_smoothly() -> None:
    for seed in range(20):
        scene = make_scene(seed)
        assert scene.shell is not None and len(scene.solids) >= 8
        poses = [scene.camera.pose(t) for t in range(400)]
        eyes = np.stack([pose[:3, 3] for pose in poses])
        assert np.linalg.norm(np.diff(eyes, axis=0), axis=1).max() < 0.3
        turns = [math.acos(np.clip((np.trace(a.T @ b) - 2) / 2, -1, 1)) for a, b in zip(poses, poses[1:], strict=False)]
        assert max(turns) < math.radians(6)
        assert (eyes[:, [0, 2]] > np.add(scene.shell.lo, 1)).all()
        assert (eyes[:, [0, 2]] < np.subtract(scene.shell.hi, 1)).all()
        for solid in scene.solids:
            reach = math.hypot(solid.size[0], solid.size[2]) if solid.label == BOX else solid.size[0]
            centres = np.stack([solid.centre_at(t) for t in range(400)])
            assert np.hypot(*(eyes - centres)[:, [0, 2]].T).min() > reach + 0.5
            assert (centres[:, 1] + solid.size[1]).max() < 1e-9, 'below the ground'


def test_every_class_is_common() -> None:
    counts = np.zeros(len(CLASSES))
    for seed in range(100, 130):
        for t in (0, 60, 120):
            counts += np.bincount(render(make_scene(seed), t, 32, 64).semseg.ravel(), minlength=len(CLASSES))
    assert (counts / counts.sum()).min() >= 0.03


def _samples(seeds: range) -> tuple[np.ndarray, np.ndarray]:
    frames = [render(make_scene(seed), t, 32, 64) for seed in seeds for t in (0, 50, 100, 150)]
    return np.concatenate([f.image.reshape(-1, 3) for f in frames]), np.concatenate([f.semseg.ravel() for f in frames])


def _miou(predicted: np.ndarray, label: np.ndarray) -> float:
    size = len(CLASSES)
    confusion = np.bincount(label.astype(int) * size + predicted, minlength=size * size).reshape(size, size)
    hit = np.diag(confusion)
    return float((hit / np.maximum(confusion.sum(0) + confusion.sum(1) - hit, 1)).mean())


@pytest.mark.slow
def test_colour_of_single_pixels_says_little() -> None:
    """Colour histograms and boosted trees on 40 videos, scored on 12 others: the rest needs context."""
    (color, label), (held_color, held_label) = _samples(range(40)), _samples(range(10000, 10012))
    scores = {}
    for bins in (8, 16):
        cell, held_cell = ((c // (256 // bins)).astype(int) @ (bins * bins, bins, 1) for c in (color, held_color))
        counts = np.zeros((bins**3, len(CLASSES)))
        np.add.at(counts, (cell, label), 1)
        prior = counts.sum(0)
        for name, power in (('majority', 0.0), ('half balanced', 0.5), ('balanced', 1.0)):
            scores[f'{bins} bins, {name}'] = _miou((counts * prior**-power).argmax(1)[held_cell], held_label)
    ensemble = pytest.importorskip('sklearn.ensemble')
    limit = pytest.importorskip('threadpoolctl').threadpool_limits
    chosen = np.random.default_rng(0).choice(len(color), 20000, replace=False)
    for weight in (None, 'balanced'):
        trees = ensemble.HistGradientBoostingClassifier(max_iter=15, class_weight=weight, random_state=0)
        with limit(1):  # more threads than free cores make OpenMP spin
            trees.fit(color[chosen], label[chosen])
            scores[f'trees, {weight}'] = _miou(trees.predict(held_color[::3]), held_label[::3])
    print({name: round(score, 3) for name, score in scores.items()})
    assert 0.02 < max(scores.values()) <= 0.25


def test_renders_faster_than_video() -> None:
    scenes = [make_scene(seed) for seed in SEEDS]
    render(scenes[0], 0, 128, 256)
    start = time.process_time()
    for scene in scenes:
        for t in range(3):
            render(scene, t, 128, 256)
    rate = 3 * len(scenes) / (time.process_time() - start)
    print(f'{rate:.0f} frames per second of processor time at 128x256')
    assert rate > 20


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match='-1'):
        make_scene(-1)
    with pytest.raises(ValueError, match='0x8'):
        render(make_scene(0), 0, 0, 8)
    with pytest.raises(ValueError, match='-2'):
        render(make_scene(0), -2, 8, 8)
