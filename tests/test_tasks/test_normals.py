"""Surface normals: the loss and its divisor, angles and their statistics, camera changes, and errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmmtl.structures import CameraChange
from mmmtl.tasks import SurfaceNormals, normals
from mmmtl.tasks.label_space import half_sphere


def make_task(**kwargs: Any) -> SurfaceNormals:
    return SurfaceNormals(**{'name': 'normals', **kwargs})


def vector_map(*vectors: tuple[float, float, float]) -> Tensor:
    """(3, 1, W) of W vectors."""
    return torch.tensor(vectors, dtype=torch.float64).T[:, None]


def turned(*degrees: float) -> Tensor:
    """Vectors at these angles from (0, 0, -1), in various directions."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    around = torch.arange(len(degrees), dtype=torch.float64)
    return torch.stack([angles.sin() * around.cos(), angles.sin() * around.sin(), -angles.cos()])[:, None]


def facing(count: int) -> Tensor:
    return vector_map(*[(0.0, 0.0, -1.0)] * count)


def random_maps(seed: int, size: tuple[int, int] = (9, 11)) -> tuple[Tensor, Tensor]:
    """(prediction, target); a fifth of the target is not labelled."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.nn.functional.normalize(torch.randn(3, *size, generator=generator), dim=0)
    noise = 0.4 * torch.randn(target.shape, generator=generator)
    prediction = torch.nn.functional.normalize(target + noise, dim=0)
    target[:, torch.rand(size, generator=generator) < 0.2] = 0
    return prediction, target


def angles_of(prediction: Tensor, target: Tensor) -> np.ndarray:
    """Angles by the arc cosine, degrees."""
    mask = target.any(dim=0)
    p, g = prediction[:, mask].double().numpy(), target[:, mask].double().numpy()
    cosine = (p * g).sum(axis=0) / np.linalg.norm(p, axis=0) / np.linalg.norm(g, axis=0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


# ---------------------------------------------------------------- loss and decoding


def test_loss_by_hand_is_per_pixel() -> None:
    # Normalised, the predictions are (0.6, 0, -0.8), (0, 0, -1) and (0, 1, 0); the last pixel has no label.
    logits = vector_map((3.0, 0.0, -4.0), (0.0, 0.0, -9.0), (0.0, 2.0, 0.0), (1.0, 1.0, 1.0)).float()[None]
    target = vector_map((0.0, 0.0, -1.0), (0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (0.0, 0.0, 0.0)).float()[None]

    loss = make_task().loss(logits, target)

    assert list(loss) == ['loss_l1']
    # Sums over x, y, z: 0.6 + 0.2, 0, 2; the divisor is 3 pixels, not 9 coordinates and not 4 pixels.
    assert loss['loss_l1'].item() == pytest.approx((0.8 + 0.0 + 2.0) / 3, rel=1e-6)


def test_loss_does_not_depend_on_the_length_of_the_logits() -> None:
    prediction, target = (maps[None] for maps in random_maps(0))
    short, long = (make_task().loss(scale * prediction, target)['loss_l1'] for scale in (0.01, 100.0))

    torch.testing.assert_close(short, long)


def test_gradient_is_finite_at_zero_logits() -> None:
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    target = facing(4).float().view(1, 3, 2, 2)
    make_task().loss(logits, target)['loss_l1'].backward()

    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_decode_gives_unit_vectors() -> None:
    decoded = make_task().decode(vector_map((3.0, 0.0, -4.0), (0.0, -0.001, 0.0))[None])

    torch.testing.assert_close(decoded[0], vector_map((0.6, 0.0, -0.8), (0.0, -1.0, 0.0)))


# ---------------------------------------------------------------- metrics


def test_metrics_by_hand() -> None:
    task = make_task()
    angles = [0.0, 11.0, 12.0, 22.0, 25.0, 31.0, 90.0, 180.0]
    metrics = task.summarize(task.measure(turned(*angles), facing(8)))

    assert list(metrics) == ['mean', 'median', 'within_11.25', 'within_22.5', 'within_30']
    assert metrics['mean'] == pytest.approx(sum(angles) / 8, rel=1e-9)
    assert metrics['median'] == pytest.approx((22 + 25) / 2, abs=0.005)
    assert [metrics[f'within_{t}'] for t in ('11.25', '22.5', '30')] == [25.0, 50.0, 62.5]


@pytest.mark.parametrize('degrees', [1e-5, 1e-3, 0.3, 45.0, 90.0, 179.9, 179.99999])
def test_angles_are_exact(degrees: float) -> None:
    task = make_task()
    assert task.summarize(task.measure(turned(degrees), facing(1)))['mean'] == pytest.approx(degrees, rel=1e-9)


def test_lengths_do_not_count() -> None:
    task = make_task()
    totals = task.measure(7 * turned(20.0, 40.0), 0.996 * facing(2))

    assert task.summarize(totals)['mean'] == pytest.approx(30.0, rel=1e-9)


def test_a_zero_prediction_is_at_right_angles() -> None:
    task = make_task()
    assert task.summarize(task.measure(vector_map((0.0, 0.0, 0.0)), facing(1)))['mean'] == pytest.approx(90.0)


def test_zero_vectors_are_not_labels() -> None:
    task = make_task()
    target = facing(4)
    target[:, :, 2:] = 0
    metrics = task.summarize(task.measure(turned(10.0, 30.5, 0.0, 170.0), target))

    assert metrics['mean'] == pytest.approx(20.25, rel=1e-9)
    assert metrics['within_11.25'] == 50.0


def test_thresholds_are_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    # No angle of 11.25 degrees is exact in binary; one of 90 is.
    above = math.nextafter(90.0, 91.0)
    monkeypatch.setattr(normals, 'THRESHOLDS', (90.0, above, 180.0))
    totals = make_task().measure(vector_map((1.0, 0.0, 0.0)), vector_map((0.0, 1.0, 0.0)))

    assert totals[1] == 90.0
    assert totals[2:5].tolist() == [0, 1, 1]


@pytest.mark.parametrize('count', [1, 2, 3, 4, 101, 102, 5000, 5001])
def test_median_is_numpys_to_half_a_bin(count: int) -> None:
    task = make_task()
    rng = np.random.default_rng(count)
    angles = rng.uniform(0, 180, count) if count % 3 else rng.exponential(8, count).clip(0, 180)
    metrics = task.summarize(task.measure(turned(*angles), facing(count)))

    assert metrics['median'] == pytest.approx(np.median(angles), abs=0.005 + 1e-9)
    assert metrics['mean'] == pytest.approx(np.mean(angles), rel=1e-9)


def test_median_of_an_even_count_is_between_the_middle_two() -> None:
    task = make_task()
    metrics = task.summarize(task.measure(turned(1.0, 10.0, 70.0, 80.0), facing(4)))

    assert metrics['median'] == pytest.approx(40.0, abs=0.005 + 1e-9)


def test_median_is_global_not_that_of_images() -> None:
    task = make_task()
    pairs = [random_maps(seed, (5 + seed, 8)) for seed in range(5)]
    metrics = task.summarize(sum(task.measure(*pair) for pair in pairs))
    angles = np.concatenate([angles_of(*pair) for pair in pairs])

    assert metrics['median'] == pytest.approx(np.median(angles), abs=0.005)
    assert metrics['mean'] == pytest.approx(angles.mean(), rel=1e-6)
    for threshold in (11.25, 22.5, 30.0):
        assert metrics[f'within_{threshold:g}'] == pytest.approx(100 * (angles < threshold).mean(), rel=1e-12)


# ---------------------------------------------------------------- maps


def test_a_mirror_turns_x_around() -> None:
    array = np.array([[[0.6, 0.0, -0.8], [0.0, -1.0, 0.0], [0.0, 0.0, 0.0]]], dtype=np.float32)
    adjusted = make_task().adjust(array, CameraChange(linear=np.diag([-1.0, 1.0, 1.0])))

    assert adjusted.dtype == np.float32
    np.testing.assert_array_equal(adjusted, np.array([[[-0.6, 0, -0.8], [0, -1, 0], [0, 0, 0]]], dtype=np.float32))


def test_a_roll_turns_the_floor() -> None:
    # A camera rolled by 90 degrees: what was right (x) is now down (y), what was down is now left (-x).
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    array = np.array([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]], dtype=np.float32)
    adjusted = make_task().adjust(array, CameraChange(linear=quarter))

    np.testing.assert_array_equal(adjusted, [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]])


def test_a_pan_keeps_lengths_and_angles() -> None:
    angle = math.radians(20)
    pan = np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    array = random_maps(0)[0].numpy().transpose(1, 2, 0)
    adjusted = make_task().adjust(array, CameraChange(linear=pan))

    np.testing.assert_allclose(np.linalg.norm(adjusted, axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(adjusted[2, 3], pan @ array[2, 3], rtol=1e-5)
    assert make_task().adjust(adjusted, CameraChange(linear=pan.T)) == pytest.approx(array, abs=1e-6)


def test_a_zoom_leaves_normals_alone() -> None:
    array = random_maps(0)[0].numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(make_task().adjust(array, CameraChange(depth_ratio=0.5)), array)


@pytest.mark.parametrize('vector', [(0.5, 0.0, 0.0), (0.0, 0.0, -1.02), (math.nan, 0.0, 0.0)])
def test_check_refuses_what_is_neither_unit_nor_zero(vector: tuple[float, float, float]) -> None:
    array = np.array([[(0.0, 0.0, -1.0), vector]], dtype=np.float32)
    with pytest.raises(ValueError, match=r"n/000003\.png: .*'normals'.*unit vectors"):
        make_task().check(array, 'n/000003.png')


def test_check_refuses_other_shapes_and_accepts_unit_and_zero() -> None:
    with pytest.raises(ValueError, match=r'n\.png: .*\(4, 5\).*\(H, W, 3\)'):
        make_task().check(np.zeros((4, 5), dtype=np.float32), 'n.png')
    make_task().check(np.array([[[0.6, 0.0, -0.8], [0.0, 0.0, 0.0], [0.0, 0.0, -0.995]]], dtype=np.float32), 'n.png')


def test_constant_is_the_mean_direction() -> None:
    maps = [
        np.array([[[0.6, 0.0, -0.8], [0.0, 0.0, 0.0]]], dtype=np.float32),
        np.array([[[-0.6, 0.0, -0.8]], [[0.0, -1.0, 0.0]]], dtype=np.float32),
    ]
    constant = make_task().constant(iter(maps))

    # The sum is (0, -1, -1.6).
    assert constant.dtype == np.float32
    assert constant.shape == (3, 1, 1)
    np.testing.assert_allclose(constant[:, 0, 0], np.array([0, -1, -1.6]) / math.hypot(1, 1.6), rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match="task 'normals'"):
        make_task().constant([np.zeros((2, 2, 3), dtype=np.float32)])


def test_draw_shows_the_stored_colours() -> None:
    array = vector_map((0.0, 0.0, -1.0), (0.6, -0.8, 0.0), (0.0, 0.0, 0.0)).numpy()
    panel = make_task().draw(np.zeros((1, 3, 3), dtype=np.uint8), array)

    # round((n + 1) / 2 * 255), halves to even: 127.5 gives 128.
    assert panel.dtype == np.uint8
    assert panel.tolist() == [[[128, 128, 0], [204, 25, 128], [120, 120, 120]]], 'the last is hatched'


# ---------------------------------------------------------------- levels


def test_directions_are_spread_evenly_over_the_visible_half_sphere() -> None:
    directions = half_sphere(40).double()

    torch.testing.assert_close(directions.norm(dim=1), torch.ones(40).double(), rtol=1e-6, atol=0)
    assert (directions[:, 2] < 0).all()
    torch.testing.assert_close(directions.mean(0), torch.tensor([0, 0, -0.5]).double(), rtol=0, atol=0.02)
    angles = torch.rad2deg(torch.acos((directions @ directions.T).clamp(-1, 1))).fill_diagonal_(180)
    # A cap of 1 / 40 of the half sphere has a radius of 12.8 degrees.
    nearest = angles.min(0).values
    assert nearest.min() > 15 and nearest.max() < 30
    golden = math.pi * (3 - math.sqrt(5))
    z = -1.5 / 40
    radius = math.sqrt(1 - z * z)
    second = torch.tensor([radius * math.cos(golden), radius * math.sin(golden), z]).double()
    torch.testing.assert_close(directions[1], second, rtol=0, atol=1e-6)


def test_levels_are_the_same_in_mixed_precision() -> None:
    target = random_maps(0, (40, 40))[1][None]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        levels = make_task().discretize(target)
    assert torch.equal(levels, make_task().discretize(target))


def test_levels_are_the_nearest_directions() -> None:
    task = make_task()
    directions = half_sphere(40)
    own = directions.T[None, :, None]
    assert task.discretize(own).flatten().tolist() == list(range(40))

    target = torch.stack([random_maps(seed)[1] for seed in range(2)])
    levels = task.discretize(target)
    for n, i, j in ((0, 0, 0), (0, 3, 5), (1, 8, 10), (1, 4, 4)):
        distance = (directions - target[n, :, i, j]).norm(dim=1)
        assert levels[n, 0, i, j] == (distance.argmin() if target[n, :, i, j].any() else 255)
    assert torch.equal(levels == 255, ~target.any(dim=1, keepdim=True))
