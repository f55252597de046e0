"""Semantic segmentation: the loss, the scores against hand-computed ones, scikit-learn's and mmseg's, and errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.evaluation.metrics import IoUMetric
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score
from torch import Tensor

from mmmtl.tasks import SemanticSegmentation

CLASSES = ['wall', 'floor', 'chair', 'lamp']


def make_task(**kwargs: Any) -> SemanticSegmentation:
    return SemanticSegmentation(**{'name': 'semseg', 'classes': CLASSES, **kwargs})


def label_map(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)[None]


def random_maps(seed: int, size: tuple[int, int] = (13, 17), num_classes: int = 4) -> tuple[Tensor, Tensor]:
    """(prediction, target), each (1, H, W); about a fifth of the target is to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(num_classes, (1, *size), generator=generator)
    right = torch.rand(target.shape, generator=generator) < 0.6
    prediction = torch.where(right, target, torch.randint(num_classes, target.shape, generator=generator))
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    return prediction, target


def random_logits(seed: int, images: int = 2, size: tuple[int, int] = (5, 6)) -> Tensor:
    return torch.randn(images, len(CLASSES), *size, generator=torch.Generator().manual_seed(seed), requires_grad=True)


# ---------------------------------------------------------------- loss


def test_loss_by_hand() -> None:
    task = make_task(classes=['a', 'b'])
    # Probabilities (1/4, 3/4), (1/2, 1/2) and, at an ignored pixel, (1, 0).
    logits = torch.tensor([[[[0.0, 1.0, 50.0]], [[math.log(3), 1.0, -50.0]]]])
    target = torch.tensor([[[[1, 0, 255]]]])

    loss = task.loss(logits, target)

    assert list(loss) == ['loss_ce']
    assert loss['loss_ce'].item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, rel=1e-6)


def test_weighted_loss_by_hand() -> None:
    task = make_task(classes=['a', 'b'], class_weights=[1.0, 4.0])
    logits = torch.tensor([[[[0.0, 1.0, 50.0]], [[math.log(3), 1.0, -50.0]]]])
    target = torch.tensor([[[[1, 0, 255]]]])

    expected = (4 * math.log(4 / 3) + 1 * math.log(2)) / 5
    assert task.loss(logits, target)['loss_ce'].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('weights', [None, [0.5, 2.0, 0.0, 1.0]])
def test_loss_is_torch_cross_entropy(weights: list[float] | None) -> None:
    task = make_task(class_weights=weights)
    logits = random_logits(0)
    _, target = random_maps(1, (5, 6))
    target = torch.stack([target, random_maps(2, (5, 6))[1]])

    tensor = None if weights is None else torch.tensor(weights)
    expected = F.cross_entropy(logits, target[:, 0], weight=tensor, ignore_index=255)
    loss = task.loss(logits, target)['loss_ce']

    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in (loss, expected)))


@pytest.mark.parametrize('weights', [None, [0.5, 2.0, 0.0, 1.0]])
def test_loss_of_ignored_pixels_is_zero_and_tied_to_the_graph(weights: list[float] | None) -> None:
    logits = random_logits(0)
    loss = make_task(class_weights=weights).loss(logits, torch.full((2, 1, 5, 6), 255))['loss_ce']

    assert loss.item() == 0
    assert loss.requires_grad
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_loss_of_classes_without_weight_is_zero() -> None:
    logits = random_logits(0)
    loss = make_task(class_weights=[0.5, 2.0, 0.0, 1.0]).loss(logits, torch.full((2, 1, 5, 6), 2))['loss_ce']
    loss.backward()

    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_an_image_without_labels_changes_nothing() -> None:
    logits = random_logits(0)
    target = torch.stack([random_maps(1, (5, 6))[1], torch.full((1, 5, 6), 255)])

    both, first = make_task().loss(logits, target), make_task().loss(logits[:1], target[:1])
    torch.testing.assert_close(both['loss_ce'], first['loss_ce'])


def test_decode_takes_the_likeliest_class() -> None:
    logits = torch.tensor([[[[0.1, -1.0]], [[0.3, -2.0]], [[0.2, -3.0]], [[0.0, -0.5]]]])
    decoded = make_task().decode(logits)

    assert decoded.dtype == torch.int64
    assert decoded.tolist() == [[[[1, 3]]]]


def test_levels_are_the_classes() -> None:
    task = make_task(class_weights=[0.5, 2.0, 0.0, 1.0])
    target = label_map([0, 3, 255])[None]

    assert task.label_space_size == 4
    assert torch.equal(task.discretize(target), target)


# ---------------------------------------------------------------- scores


def test_scores_by_hand() -> None:
    task = make_task()
    target = label_map([0, 0, 1], [1, 2, 255])
    prediction = label_map([0, 1, 1], [1, 0, 2])  # class 3 neither occurs nor is predicted; 2 only where ignored

    totals = task.measure(prediction, target)

    assert totals.dtype == torch.float64
    assert totals.view(4, 4).tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    # IoU: 1 / 3, 2 / 3, 0 / 1; 3 of 5 labelled pixels are right.
    assert task.summarize(totals) == pytest.approx({'mIoU': 100 / 3, 'pixel_acc': 60.0}, rel=1e-12)


def test_a_class_that_is_only_predicted_counts_as_missed() -> None:
    task = make_task()
    totals = task.measure(label_map([0, 3]), label_map([0, 0]))

    assert task.summarize(totals) == pytest.approx({'mIoU': (50 + 0) / 2, 'pixel_acc': 50.0})


@pytest.mark.parametrize('seed', range(5))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    task = make_task()
    prediction, target = random_maps(seed)
    valid = target != 255
    labels, predicted = target[valid].numpy(), prediction[valid].numpy()

    totals = task.measure(prediction, target)
    metrics = task.summarize(totals)

    np.testing.assert_array_equal(totals.view(4, 4), confusion_matrix(labels, predicted, labels=range(4)))
    assert metrics['mIoU'] == pytest.approx(100 * jaccard_score(labels, predicted, average='macro'), rel=1e-12)
    assert metrics['pixel_acc'] == pytest.approx(100 * accuracy_score(labels, predicted), rel=1e-12)


def test_scores_are_those_of_mmseg() -> None:
    # Class 5 never occurs, as in real evaluations.
    task = make_task(classes=[*CLASSES, 'sofa', 'never'])
    totals, areas = torch.zeros(36, dtype=torch.float64), []
    for seed in range(6):
        prediction, target = random_maps(seed, (9 + seed, 31), num_classes=5)
        totals += task.measure(prediction, target)
        areas.append(IoUMetric.intersect_and_union(prediction[0], target[0], 6, 255))
    theirs = IoUMetric.total_area_to_metrics(*(sum(area) for area in zip(*areas, strict=True)))

    ours = task.summarize(totals)
    assert np.isnan(theirs['IoU'][5])
    assert ours['mIoU'] == pytest.approx(100 * np.nanmean(theirs['IoU']), rel=1e-6)  # mmseg adds up in float32
    assert ours['pixel_acc'] == pytest.approx(100 * theirs['aAcc'], rel=1e-6)


def test_unscored_classes_take_no_part() -> None:
    task = make_task(unscored=['floor'])
    target = label_map([0, 0, 1, 1, 2, 2])
    prediction = label_map([0, 1, 1, 2, 2, 2])

    # The pixels of label 1 are ignored: IoU 1 / 2 of class 0 (missed once), 2 / 2 of class 2; 3 of 4 are right.
    metrics = task.summarize(task.measure(prediction, target))
    assert metrics == pytest.approx({'mIoU': 75.0, 'pixel_acc': 75.0})


def test_what_was_an_unscored_class_does_not_count_as_a_change() -> None:
    task = make_task(unscored=['floor'])
    change = task.measure_change(label_map([1, 0, 0, 2]), label_map([0, 0, 1, 2]))

    # The first pixel was floor. The second stays, the third becomes floor: 1 / 2 of class 0, all of class 2.
    assert task.summarize_change(change) == pytest.approx({'TC': 75.0})


def test_nothing_labelled_scores_nan() -> None:
    task = make_task(unscored=['floor'])
    metrics = task.summarize(task.measure(label_map([0, 1, 2]), label_map([255, 1, 1])))

    assert list(metrics) == ['mIoU', 'pixel_acc']
    assert all(math.isnan(value) for value in metrics.values())


# ---------------------------------------------------------------- check, constant, draw


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_check_accepts_labels_and_ignore(dtype: type) -> None:
    make_task().check(np.array([[0, 3], [255, 1]], dtype=dtype), 'a.png')


def test_check_names_file_labels_and_fix() -> None:
    labels = np.array([[0, 4, 4], [254, 255, 3]])
    with pytest.raises(ValueError) as error:
        make_task().check(labels, 'data/semseg/room/000012.png')

    message = str(error.value)
    assert message.startswith('data/semseg/room/000012.png: labels [4, 254] ')
    assert "'semseg'" in message and '0..3' in message and '255' in message
    assert '`classes`' in message


def test_check_refuses_negative_labels() -> None:
    with pytest.raises(ValueError, match=r'labels \[-1\]'):
        make_task().check(np.array([[0, -1]]), 'a.png')


def test_check_refuses_colours() -> None:
    with pytest.raises(ValueError, match=r'a\.png: .*\(2, 2, 3\).*\(H, W\)'):
        make_task().check(np.zeros((2, 2, 3), dtype=np.uint8), 'a.png')


def test_constant_is_the_majority() -> None:
    maps = [np.array([[0, 0, 2]]), np.array([[2, 2], [255, 255], [255, 255]], dtype=np.uint8)]
    constant = make_task().constant(iter(maps))

    assert constant.dtype == np.int64
    assert constant.tolist() == [[[2]]]
    # The majority of what is scored: a predictor of an unscored class would score nothing.
    assert make_task(unscored=['chair']).constant(maps).tolist() == [[[0]]]


def test_constant_needs_a_label() -> None:
    with pytest.raises(ValueError, match="task 'semseg'"):
        make_task().constant([np.full((2, 2), 255)])


def test_draw_blends_and_leaves_ignored_pixels() -> None:
    task = make_task(palette=[[200, 0, 40], [0, 0, 0], [255, 255, 255], [10, 20, 30]])
    image = np.full((1, 4, 3), 100, dtype=np.uint8)
    image[0, 2] = (7, 8, 9)
    panel = task.draw(image, np.array([[[0, 1, 255, 2]]]))

    assert panel.dtype == np.uint8
    # 0.7 of the colour (178.5 rounds to 178) and 0.3 of the image; the third is hatched.
    assert panel.tolist() == [[[170, 30, 58], [30, 30, 30], [123, 124, 124], [208, 208, 208]]]


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(class_weights=[1.0]), r"task 'semseg': 1\D+class_weights\D+4\D"),
        (dict(class_weights=[1.0, -1.0, 1.0, 1.0]), r'class_weights.*-1\.0'),
        (dict(class_weights=[1.0, float('nan'), 1.0, 1.0]), 'class_weights.*nan'),
        (dict(classes=['leaf']), r"task 'semseg': one class.*\['background', 'leaf'\]"),
        (dict(classes=['leaf', 'no label']), "task 'semseg': 'no label' means"),
        (dict(unscored=['sky']), r"unscored.*\['sky'\]"),
        (dict(unscored=CLASSES), "task 'semseg': .*unscored"),
        (dict(classes=[f'c{i}' for i in range(256)]), '256.*255'),
    ],
)
def test_impossible_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**kwargs)
