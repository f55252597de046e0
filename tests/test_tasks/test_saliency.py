"""Saliency: both scores by hand and against a count pixel by pixel, equality with a threshold, and the panels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmmtl.tasks import SaliencyDetection
from mmmtl.tasks.balanced_bce import balanced_bce

TASK = SaliencyDetection(name='saliency')
Images = list[tuple[np.ndarray, np.ndarray]]


def score(images: Images) -> dict[str, float]:
    """The metrics of (probability, label) maps (H, W)."""
    maps = [(torch.tensor(p, dtype=torch.float32)[None], torch.tensor(g, dtype=torch.float32)[None]) for p, g in images]
    return TASK.summarize(torch.stack([TASK.measure(p, g) for p, g in maps]).sum(0))


def reference(images: Images) -> dict[str, float]:
    """Compute both protocols as papers define them, threshold by threshold, in plain NumPy."""
    ious, measures = [], []
    for threshold in np.linspace(0.2, 0.9, 15):
        each = []
        for p, g in images:
            labelled = g != 255
            predicted, salient = p[labelled] >= threshold, g[labelled] == 1
            either = np.sum(predicted | salient)
            each.append(np.sum(predicted & salient) / either if either else 1.0)
        ious.append(np.mean(each))
    for threshold in np.arange(1, 20) * 0.05:
        predicted = np.concatenate([p[g != 255] >= threshold for p, g in images])
        salient = np.concatenate([g[g != 255] == 1 for _, g in images])
        hits = np.sum(predicted & salient)
        precision = hits / predicted.sum() if predicted.any() else 0.0
        recall = hits / salient.sum() if salient.any() else 0.0
        bottom = 0.3 * precision + recall
        measures.append(1.3 * precision * recall / bottom if bottom else 0.0)
    return {'max_mIoU': 100 * max(ious), 'maxF': 100 * max(measures)}


def make_images(seed: int, sizes: list[tuple[int, int]]) -> Images:
    """Probabilities that correlate with the label; a tenth of the pixels is not labelled."""
    rng = np.random.default_rng(seed)
    images = []
    for size in sizes:
        label = (rng.random(size) < rng.uniform(0.1, 0.6)).astype(np.float64)
        # Away from the thresholds, where float32 and float64 could disagree.
        probability = np.round(40 * (0.5 * rng.random(size) + 0.45 * label)) / 40 + 0.0125
        images.append((probability, np.where(rng.random(size) < 0.1, 255.0, label)))
    return images


def test_by_hand() -> None:
    label = np.array([[1.0, 1, 0, 0]])
    first = (np.array([[0.92, 0.42, 0.62, 0.12]]), label)
    # IoU: 2/3 to 0.4, 1/3 at 0.45 to 0.6, 1/2 above.
    assert score([first])['max_mIoU'] == pytest.approx(100 * 2 / 3)
    # F with p = 2/3, r = 1 to 0.4; p = 1, r = 1/2 above 0.62.
    assert score([first])['maxF'] == pytest.approx(100 * 1.3 * (1 * 1 / 2) / (0.3 + 1 / 2))

    second = (np.array([[0.33, 0.77, 0.77, 0.77]]), label)
    # Means of the two images: 2/3 and 1/2 to 0.3; 2/3 and 1/4 to 0.4; ...
    assert score([first, second])['max_mIoU'] == pytest.approx(100 * (2 / 3 + 2 / 4) / 2)
    # Together: at 0.3 4 hits of 7; above 0.77 1 of 1, 1 of 4 found.
    f_measures = [1.3 * p * r / (0.3 * p + r) for p, r in ((4 / 7, 1), (3 / 6, 3 / 4), (2 / 5, 2 / 4), (1, 1 / 4))]
    assert score([first, second])['maxF'] == pytest.approx(100 * max(f_measures))


@pytest.mark.parametrize('seed', range(5))
def test_is_that_of_a_count_pixel_by_pixel(seed: int) -> None:
    images = make_images(seed, [(7, 9), (5, 4), (11, 3)])
    expected = reference(images)

    assert 20 < expected['max_mIoU'] < 99 and 20 < expected['maxF'] < 99
    assert score(images) == pytest.approx(expected, rel=1e-12)


def test_salient_is_above_one_half() -> None:
    label = np.array([[1.0, 0.51, 0.5, 0.0, 255.0]])
    images = [(np.array([[0.9, 0.9, 0.1, 0.1, 0.1]]), label)]
    assert score(images) == pytest.approx({'max_mIoU': 100, 'maxF': 100})
    assert TASK.discretize(torch.from_numpy(label)[None, None]).flatten().tolist() == [1, 1, 0, 0, 255]


def test_the_one_is_a_mean_over_images_the_other_over_pixels() -> None:
    small = (np.array([[0.9, 0.1]]), np.array([[1.0, 0]]))
    large = (np.full((10, 10), 0.95), np.pad(np.ones((10, 1)), ((0, 0), (0, 9))))

    # Half of the images is perfect at 0.9; of 102 pixels, 2 are.
    assert score([small, large])['max_mIoU'] == pytest.approx(100 * (1 + 0.1) / 2)
    precision = 11 / 101
    assert score([small, large])['maxF'] == pytest.approx(100 * 1.3 * precision / (0.3 * precision + 1))


def test_how_images_are_spread_does_not_matter() -> None:
    images = make_images(7, [(6, 5)] * 4)
    vectors = [TASK.measure(torch.tensor(p)[None], torch.tensor(g)[None]) for p, g in images]

    assert all(vector.dtype == torch.float64 for vector in vectors)
    # Exact: the counts are whole numbers.
    counts = slice(0, 40)
    assert torch.equal(((vectors[0] + vectors[3]) + (vectors[2] + vectors[1]))[counts], sum(vectors)[counts])
    assert TASK.summarize((vectors[0] + vectors[3]) + (vectors[2] + vectors[1])) == pytest.approx(reference(images))


@pytest.mark.parametrize('threshold', [i / 20 for i in range(1, 20)])
def test_a_probability_reaches_the_threshold_that_it_equals(threshold: float) -> None:
    label = torch.tensor([[[1.0, 0.0]]])
    at = torch.tensor(threshold)
    just_below = torch.nextafter(at, torch.zeros(()))
    apart = TASK.measure(torch.stack([at, just_below]).view(1, 1, 2), label)
    level = round(20 * threshold) - 1

    predicted, hits = apart[2:21], apart[21:40]
    assert hits.tolist() == [1.0] * (level + 1) + [0.0] * (18 - level)
    assert predicted.tolist() == [2.0] * level + [1.0] + [0.0] * (18 - level)
    assert TASK.summarize(apart)['maxF'] == 100
    assert (TASK.summarize(apart)['max_mIoU'] == 100) == (0.2 <= threshold <= 0.9)


def test_thresholds_of_the_two_scores_differ() -> None:
    label = np.array([[1.0, 0]])
    # Told apart at 0.15 alone, and at 0.95 alone.
    for low, high in ((0.12, 0.17), (0.92, 0.97)):
        both = score([(np.array([[high, low]]), label)])
        assert both['maxF'] == 100
        assert both['max_mIoU'] == (0 if high < 0.2 else 50)


def test_images_without_anything_salient() -> None:
    nothing = np.zeros((2, 2))
    assert score([(np.full((2, 2), 0.1), nothing)]) == {'max_mIoU': 100, 'maxF': 0}
    assert score([(np.full((2, 2), 0.97), nothing)]) == {'max_mIoU': 0, 'maxF': 0}
    # Beside another image, its false alarms count.
    good = (np.array([[0.6, 0.1]]), np.array([[1.0, 0]]))
    assert score([good, (np.full((1, 1), 0.97), np.zeros((1, 1)))]) == pytest.approx(
        {'max_mIoU': 50, 'maxF': 100 * 1.3 * 0.5 / (0.3 * 0.5 + 1)}
    )


def test_an_unlabelled_image_is_no_image() -> None:
    images = make_images(3, [(5, 5), (4, 4)])
    unlabelled = (np.full((3, 3), 0.4), np.full((3, 3), 255.0))

    assert score([*images, unlabelled]) == score(images)
    assert all(math.isnan(value) for value in score([unlabelled]).values())


def test_loss_is_balanced_over_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 4, 5, generator=generator)
    target = (torch.rand(2, 1, 4, 5, generator=generator) < 0.3).float()
    target[1] = 0
    target[0, :, 0] = 255
    labelled = target != 255
    share = float((target[labelled] == 0).float().mean())

    losses = TASK.loss(logits, target)
    assert list(losses) == ['loss_bce']
    torch.testing.assert_close(losses['loss_bce'], balanced_bce(logits, target, labelled, share))


def test_decode_is_the_probability() -> None:
    logits = torch.tensor([0.0, math.log(3), -200.0, 200.0]).view(1, 1, 2, 2)
    torch.testing.assert_close(TASK.decode(logits).flatten(), torch.tensor([0.5, 0.75, 0.0, 1.0]))


def test_definition_and_directions() -> None:
    assert TASK.definition() == {'type': 'SaliencyDetection', 'out_channels': 1}
    assert TASK.higher_is_better == {'max_mIoU': True, 'maxF': True}
    assert TASK.primary_metric == 'maxF'
    assert SaliencyDetection(name='a', primary_metric='max_mIoU').primary_metric == 'max_mIoU'


@pytest.mark.parametrize('wrong', [np.nan, -0.1, 1.5, 254.0, np.inf])
def test_other_values_are_refused(wrong: float) -> None:
    array = np.array([[0.0, 1.0, 255.0, wrong]], dtype=np.float32)
    TASK.check(array[:, :3], 'fine.png')
    with pytest.raises(ValueError, match=r"bad\.png: .*\[.*\].*'saliency'.*0\.\.1.*255"):
        TASK.check(array, 'bad.png')


def test_no_constant_is_better_than_the_constant() -> None:
    images = make_images(1, [(8, 8), (6, 7)])
    labels = [label for _, label in images]
    constant = float(TASK.constant(iter(labels))[0, 0, 0])

    def of(value: float) -> dict[str, float]:
        return score([(np.full_like(label, value), label) for label in labels])

    assert constant == 1
    for value in (0.0, 0.1, 0.33, 0.5, 0.93):
        assert all(of(constant)[name] >= other for name, other in of(value).items()), value


def test_picture() -> None:
    array = np.array([[[0.0, 0.5, 1.0, 255.0]]], dtype=np.float32)
    panel = TASK.draw(np.zeros((1, 4, 3), dtype=np.uint8), array)
    brightness = panel[0].astype(int).sum(axis=1)

    assert brightness[0] < brightness[1] < brightness[2]
    assert panel[0, 3].tolist() == [120, 120, 120], 'hatched'


def test_measure_takes_low_precision() -> None:
    probability = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0)).half()
    label = (probability > 0.6).float()
    assert TASK.summarize(TASK.measure(probability, label))['maxF'] == pytest.approx(100)
