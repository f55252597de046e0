"""Edge detection: the loss, odsF and oisF by hand and against a plain computation, additivity, errors and panels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmmtl.ops.edges.nms import edge_nms
from mmmtl.ops.edges.thinning import thin
from mmmtl.tasks import EdgeDetection

SIZE = (60, 80)  # the diagonal is 100 pixels long
Image = tuple[Tensor, Tensor]


def make_task(**kwargs: Any) -> EdgeDetection:
    return EdgeDetection(**{'name': 'edge', 'max_distance': 0.05, 'nms': False, **kwargs})


def lines(columns: dict[int, float], size: tuple[int, int] = SIZE) -> Tensor:
    """A map (1, H, W) with a vertical line of 40 pixels of this value in each of these columns."""
    map_ = torch.zeros(1, *size)
    for column, value in columns.items():
        map_[:, 10:50, column] = value
    return map_


def soft_maps(seed: int, size: tuple[int, int] = (20, 24)) -> Image:
    """A smooth random prediction, and a label that partly agrees."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    bend = generator.uniform(-0.4, 0.4, 2)
    label = abs(x - size[1] / 2 - bend[0] * (y - size[0] / 2)) < 0.6
    distance = abs(x - size[1] / 2 - 1 - bend[1] * (y - size[0] / 2))
    prediction = 0.8 * np.exp(-(distance**2) / 6) + 0.2 * generator.random(size)
    return torch.from_numpy(prediction).float()[None], torch.from_numpy(label).float()[None]


def score(task: EdgeDetection, images: list[Image]) -> dict[str, float]:
    return task.summarize(torch.stack([task.measure(*image) for image in images]).sum(0))


# ---------------------------------------------------------------- loss


def test_loss_by_hand() -> None:
    # Probabilities 3/4, 1/2, 1/4 of an edge, none and a label of 0.4; the last pixel is ignored.
    logits = torch.tensor([[[[math.log(3), 0.0, -math.log(3), 50.0]]]])
    target = torch.tensor([[[[1.0, 0.0, 0.4, 255.0]]]])

    losses = make_task(pos_weight=0.8).loss(logits, target)

    assert list(losses) == ['loss_bce']
    expected = 0.8 * math.log(4 / 3) + 0.2 * math.log(2) + (0.8 * 0.4 * math.log(4) + 0.2 * 0.6 * math.log(4 / 3))
    assert losses['loss_bce'].item() == pytest.approx(expected / 3, rel=1e-6)


def test_the_weight_is_that_of_pascal_context_unless_given() -> None:
    logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    expected = (0.95 + 3 * 0.05) * math.log(2) / 4

    assert make_task().loss(logits, target)['loss_bce'].item() == pytest.approx(expected, rel=1e-6)


def test_decode_gives_probabilities() -> None:
    decoded = make_task().decode(torch.tensor([[[[0.0, math.log(3)]]]]))
    torch.testing.assert_close(decoded, torch.tensor([[[[0.5, 0.75]]]]))


# ---------------------------------------------------------------- scores


@pytest.mark.parametrize(('apart', 'expected'), [(0, 100), (5, 100), (6, 0)])
def test_a_line_that_is_shifted(apart: int, expected: float) -> None:
    image = lines({20 + apart: 0.9}), lines({20: 1.0})

    assert score(make_task(), [image]) == {'odsF': expected, 'oisF': expected}


def test_a_label_has_one_prediction() -> None:
    image = lines({18: 0.9, 22: 0.9}), lines({20: 1.0})

    # 40 pairs of 80 predicted and 40 labelled pixels.
    assert score(make_task(), [image])['odsF'] == pytest.approx(100 * 2 * 40 / (80 + 40))


def test_totals_by_hand() -> None:
    task = make_task(thresholds=3)
    totals = task.measure(lines({20: 0.6, 50: 0.3}), lines({21: 1.0, 70: 0.7, 72: 0.5}))

    assert totals.dtype == torch.float64
    #                        labels  best    at 1/4, 1/2 and 3/4
    assert totals.tolist() == [1, 80, 40, 40, 40, 40, 0, 80, 40, 0]
    assert task.summarize(totals) == pytest.approx({'odsF': 100 * 80 / 120, 'oisF': 100 * 80 / 120})


def test_one_threshold_for_all_and_one_for_each_image() -> None:
    task = make_task(thresholds=9)
    images = [(lines({20: 0.85, 50: 0.45}), lines({20: 1.0})), (lines({20: 0.35}), lines({20: 1.0}))]

    # Pairs, predictions: 80 and 120 up to 0.3, 40 and 80 at 0.4, 40 and 40 up to 0.8, 0 and 0 at 0.9; 80 labels.
    # Alone, the first image is best at 0.5, the second at 0.1, both without a fault.
    assert score(task, images) == pytest.approx({'odsF': 100 * 160 / 200, 'oisF': 100})
    best = [score(make_task(thresholds=1), [(p + shift, g) for p, g in images])['odsF'] for shift in (0.2, 0.1, 0.0)]
    assert best == pytest.approx([100 * 160 / 200, 100 * 80 / 160, 100 * 80 / 120])


def test_a_perfect_prediction() -> None:
    for seed in range(3):
        _, label = soft_maps(seed)
        assert score(make_task(max_distance=0.0), [(label, label)]) == {'odsF': 100, 'oisF': 100}


def test_an_empty_prediction() -> None:
    assert score(make_task(), [(lines({}), lines({20: 1.0}))]) == {'odsF': 0, 'oisF': 0}


def test_an_image_without_edges_counts_what_is_predicted() -> None:
    task = make_task(thresholds=3)
    nothing = task.measure(lines({20: 0.6, 50: 0.3}), lines({}))

    # All thresholds are equal, so the lowest is taken, as in SEISM.
    assert nothing.tolist() == [1, 0, 0, 80, 0, 0, 0, 80, 40, 0]
    metrics = task.summarize(nothing + task.measure(lines({20: 0.6}), lines({20: 1.0})))
    assert metrics == pytest.approx({'odsF': 100 * 80 / 120, 'oisF': 100 * 80 / 160})


def test_labels_above_one_half_are_edges() -> None:
    prediction = lines({20: 0.9, 40: 0.9})

    assert score(make_task(), [(prediction, lines({20: 0.51, 40: 0.5}))])['odsF'] == pytest.approx(100 * 80 / 120)


def test_wide_labels_and_predictions_count_as_lines() -> None:
    wide = lines(dict.fromkeys(range(19, 24), 1.0))
    totals = make_task(thresholds=1).measure(wide, wide)

    assert totals[1:].tolist() == [int(thin(wide[0].numpy()).sum())] * 5
    assert 30 <= totals[1] <= 40


def test_ignored_pixels_take_no_part() -> None:
    task, prediction, label = make_task(), lines({20: 0.9, 60: 0.9}), lines({20: 1.0, 70: 1.0})
    label[:, :, 40:] = 255

    assert score(task, [(prediction, label)]) == {'odsF': 100, 'oisF': 100}
    assert not task.measure(prediction, torch.full_like(label, 255)).any()
    nothing = task.summarize(task.measure(prediction, torch.full_like(label, 255)))
    assert all(math.isnan(value) for value in nothing.values())


def test_ignored_pixels_of_a_prediction_are_removed_after_thinning() -> None:
    prediction, label = lines({19: 0.9, 20: 0.9, 21: 0.9}), lines({60: 1.0})
    label[:, :, 20:40] = 255  # hides the middle of the wide line

    assert make_task(thresholds=1).measure(prediction, label).tolist() == [1, 40, 0, 0, 0, 0]


def test_pixels_at_a_threshold_reach_it() -> None:
    assert make_task(thresholds=1).measure(lines({20: 0.5}), lines({20: 1.0})).tolist() == [1, 40, 40, 40, 40, 40]


def test_a_blurred_line_is_suppressed_to_its_ridge() -> None:
    distance = torch.arange(80.0)[None, None] - 30
    blurred = (0.9 * torch.exp(-(distance**2) / 18)).expand(1, *SIZE)
    label = torch.zeros(1, *SIZE)
    label[:, 5:-5, 30] = 1
    task = make_task(nms=True, max_distance=0.0, thresholds=1)

    # One pixel in each of 50 rows; towards the border 0.9 fades to 4/5, 3/5, ..., two of which are above one half.
    assert task.measure(blurred, label).tolist() == [1, 50, 50, 54, 50, 54]
    assert score(make_task(nms=False, max_distance=0.0, thresholds=1), [(blurred, label)])['odsF'] < 99


def by_the_protocol(task: EdgeDetection, images: list[Image], distance: float) -> tuple[list[float], list[float]]:
    """F at every threshold, and the counts at each image's best one, from an assignment of pixels at least cost."""
    count = len(task.thresholds)
    matched, predicted, labels, best = np.zeros(count), np.zeros(count), 0, np.zeros(3)
    for prediction, target in images:
        strength = edge_nms(prediction[0].numpy()) if task.nms else prediction[0].numpy()
        label = thin(target[0].numpy() > 0.5)
        each = []
        for threshold in task.thresholds:
            mask = thin(strength >= threshold)
            apart = np.linalg.norm(np.argwhere(mask)[:, None] - np.argwhere(label)[None], axis=-1)
            cost = np.where(apart <= distance * np.hypot(*label.shape), apart, 1000)
            rows, columns = linear_sum_assignment(cost)
            each.append((int((cost[rows, columns] < 1000).sum()), int(mask.sum()), int(label.sum())))
        pairs, found, labelled = np.array(each).T
        best += each[int(np.argmax(2 * pairs / (found + labelled)))]
        matched, predicted, labels = matched + pairs, predicted + found, labels + labelled[0]
    precision, recall = matched / np.maximum(predicted, 1), matched / labels
    harmonic = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    p, r = best[0] / best[1], best[0] / best[2]
    return list(100 * harmonic), [100 * 2 * p * r / (p + r)]


@pytest.mark.parametrize('nms', [False, True])
def test_scores_are_those_of_the_protocol(nms: bool) -> None:
    task = make_task(nms=nms, thresholds=19, max_distance=0.04)
    images = [soft_maps(seed, (20 + seed, 30)) for seed in range(4)]
    each, best = by_the_protocol(task, images, 0.04)
    metrics = score(task, images)

    assert metrics == pytest.approx({'odsF': max(each), 'oisF': best[0]}, rel=1e-12)
    assert len(set(each)) > 5 and 0 < metrics['odsF'] < metrics['oisF'] < 100
    for index, threshold in enumerate(task.thresholds):
        alone = make_task(nms=nms, thresholds=1, max_distance=0.04)
        alone.thresholds = np.array([threshold])
        assert score(alone, images)['odsF'] == pytest.approx(each[index], abs=1e-9)


def test_images_add_up_in_any_order() -> None:
    task = make_task(nms=True, max_distance=0.02)
    measures = [task.measure(*soft_maps(seed)) for seed in range(5)]
    orders = [torch.stack([measures[i] for i in order]).sum(0) for order in ((0, 1, 2, 3, 4), (3, 0, 4, 2, 1))]

    assert torch.equal(*orders)
    assert torch.equal(orders[0], sum(measures[:2]) + sum(measures[2:]))


# ---------------------------------------------------------------- check, constant, draw, arguments


def test_check_accepts_soft_edges_and_ignore() -> None:
    make_task().check(np.array([[0, 1], [0.3, 255]], dtype=np.float32), 'a.png')


@pytest.mark.parametrize('values', [[[0.0, 2.0]], [[-0.1]], [[np.nan]], [[[0.0, 0.0, 0.0]]]])
def test_check_names_file_and_range(values: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"edge/7\.png: .*'edge'.*\(H, W\)"):
        make_task().check(np.array(values), 'edge/7.png')


def test_constant_is_the_share_of_edges() -> None:
    constant = make_task().constant(iter([np.array([[1.0, 0.0, 255.0]]), np.array([[0.0], [0.5]])]))

    assert constant.shape == (1, 1, 1) and constant.dtype == np.float32
    assert constant.item() == pytest.approx(1.5 / 4)


def test_draw_is_dark_on_white_and_shows_ignored_pixels() -> None:
    image = np.full((1, 4, 3), 77, dtype=np.uint8)
    panel = make_task().draw(image, np.array([[[0.0, 1.0, 0.4, 255.0]]], dtype=np.float32))

    assert panel.dtype == np.uint8
    assert panel[0].tolist() == [[255] * 3, [0] * 3, [153] * 3, [77 // 2 + 120] * 3]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(pos_weight=1.0), r"task 'edge': pos_weight.*\b1\.0"),
        (dict(max_distance=5.0), r'max_distance.*\b5\.0'),
        (dict(max_distance=-0.1), r'max_distance.*-0\.1'),
        (dict(thresholds=0), 'thresholds.*1.*0'),
        (dict(thresholds=True), 'thresholds.*True'),
        (dict(primary_metric='f1'), r"primary_metric.*\['odsF', 'oisF'\].*'f1'"),
    ],
)
def test_impossible_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**kwargs)


def test_the_other_metric_can_stand_for_the_task() -> None:
    assert make_task().primary_metric == 'odsF'
    assert make_task(primary_metric='oisF').primary_metric == 'oisF'
