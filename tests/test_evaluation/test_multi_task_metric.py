"""The metric of all tasks: numbers by hand, offsets, missing labels, and several processes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from torch import Tensor

from mmmtl.evaluation import MultiTaskMetric, TemporalConsistency
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks.metric_keys import MetricKey

TASKS = {
    'semseg': dict(type='SemanticSegmentation', classes=['wall', 'floor']),
    'depth': dict(type='DepthEstimation', max_depth=10.0),
}


def make_metric(tasks: dict[str, Any] | None = None, **kwargs: Any) -> MultiTaskMetric:
    metric = MultiTaskMetric(**kwargs)
    metric.dataset_meta = {'tasks': tasks or TASKS}
    return metric


def labels(*values: int) -> Tensor:
    return torch.tensor(values).view(1, 1, -1)


def depths(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, -1)


def sample(gt: dict[str, Tensor], pred: dict[str, Tensor], offset: int | None = None) -> dict[str, Any]:
    return {'gt': gt, 'pred': pred} if offset is None else {'gt': gt, 'pred': pred, 'offset': offset}


def test_images_are_scored_together() -> None:
    metric = make_metric()

    metric.process(
        None,
        [
            sample(
                {'semseg': labels(0, 0, 1, 255), 'depth': depths(2.0, 4.0, 0.0, 11.0)},
                {'semseg': labels(0, 1, 1, 1), 'depth': depths(3.0, 4.0, 9.0, 9.0)},
            ),
            sample(
                {'semseg': labels(1, 1), 'depth': depths(8.0, 1.0)},
                {'semseg': labels(1, 0), 'depth': depths(4.0, 1.0)},
            ),
        ],
    )
    metrics = metric.evaluate(2)

    # wall: 1 of 3 (1 hit, 1 missed, 1 too many), floor: 2 of 4.
    assert metrics['semseg/mIoU'] == pytest.approx(100 * (1 / 3 + 2 / 4) / 2)
    assert metrics['semseg/pixel_acc'] == pytest.approx(100 * 3 / 5)
    # Errors 1, 0, 4, 0 at depths 2, 4, 8, 1; two pixels have no depth in range.
    assert metrics['depth/abs_err'] == pytest.approx(5 / 4)
    assert metrics['depth/rel_err'] == pytest.approx((1 / 2 + 4 / 8) / 4)
    assert metrics['depth/rmse'] == pytest.approx((17 / 4) ** 0.5)
    assert metrics['depth/delta1'] == 50.0 and metrics['depth/delta2'] == 75.0
    assert all('offset' not in key and 'pooled' not in key for key in metrics)
    assert [key.split('/')[0] for key in metrics] == ['semseg'] * 2 + ['depth'] * 7


def clips() -> list[dict[str, Any]]:
    """Offset 0: two clips, errors 1 and 3; offset 2: one clip of two pixels, errors 4 and 6."""
    return [
        sample({'depth': depths(2.0)}, {'depth': depths(3.0)}, 0),
        sample({'depth': depths(4.0, 1.0)}, {'depth': depths(8.0, 7.0)}, 2),
        sample({'depth': depths(2.0)}, {'depth': depths(5.0)}, 0),
    ]


def test_clips_are_scored_at_each_offset_on_their_mean_and_together() -> None:
    metric = make_metric()
    metric.process(None, clips())

    metrics = metric.evaluate(3)

    assert metrics['offset_0/depth/abs_err'] == 2.0
    assert metrics['offset_2/depth/abs_err'] == 5.0
    assert metrics['depth/abs_err'] == 3.5, 'the mean of the offsets, however many samples each has'
    assert metrics['pooled/depth/abs_err'] == (1 + 3 + 4 + 6) / 4
    assert metrics['pooled/depth/rmse'] == pytest.approx(((1 + 9 + 16 + 36) / 4) ** 0.5)
    assert metrics['depth/rmse'] == pytest.approx((5**0.5 + 26**0.5) / 2)
    assert list(metrics)[0] == 'depth/abs_err'


def test_every_image_can_be_scored_by_itself() -> None:
    """Offset 0 with two images, offset 1 with one; the mean over the images of an offset, then over the offsets."""
    seen = [
        ((0, 0, 1, 1), (0, 0, 1, 1), 0),  # IoU 1 and 1
        ((0, 1), (0, 0), 0),  # 1/2 and 0
        ((255, 255), (0, 1), 0),  # no label: not an image that counts
        ((0, 0, 0, 1), (0, 0, 1, 1), 1),  # 2/3 and 1/2
    ]
    metric = make_metric(per_image=True)
    metric.process(None, [sample({'semseg': labels(*g)}, {'semseg': labels(*p)}, o) for g, p, o in seen])
    metrics = metric.evaluate(3)
    one = (2 / 3 + 1 / 2) / 2
    assert metrics['per_image/semseg/mIoU'] == pytest.approx(100 * ((1 + 1 / 4) / 2 + one) / 2)
    assert metrics['per_image/semseg/pixel_acc'] == pytest.approx(100 * ((1 + 1 / 2) / 2 + 3 / 4) / 2)
    # One matrix: class 0 has 3 of 4 and 2 of 3, class 1 2 of 3 and 1 of 2; all together 5 of 7 and 3 of 5.
    assert {key: value for key, value in metrics.items() if key.endswith('mIoU') and 'per_image' not in key} == (
        pytest.approx(
            {
                'semseg/mIoU': 100 * ((3 / 4 + 2 / 3) / 2 + one) / 2,
                'pooled/semseg/mIoU': 100 * (5 / 7 + 3 / 5) / 2,
                'offset_0/semseg/mIoU': 100 * (3 / 4 + 2 / 3) / 2,
                'offset_1/semseg/mIoU': 100 * one,
            }
        )
    )


def test_keys_of_an_evaluation_are_names_of_the_tasks_with_a_scope() -> None:
    metric = make_metric(per_image=True)
    metric.process(None, [sample({'semseg': labels(0, 1)}, {'semseg': labels(0, 1)}, offset) for offset in (0, 12)])
    keys = list(map(MetricKey.parse, metric.evaluate(2)))
    scopes = ['', 'offset_0', 'offset_12', 'per_image', 'pooled']
    names = ['semseg/mIoU', 'semseg/pixel_acc']
    assert sorted((key.scope, key.name) for key in keys) == [(scope, name) for scope in scopes for name in names]
    assert {key.offset for key in keys} == {None, 0, 12}
    assert {key.scope for key in keys if key.is_detail} == {'offset_0', 'offset_12', 'pooled'}


def test_the_order_in_which_a_task_returns_its_metrics_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = make_metric(per_image=True)
    task = metric.tasks['depth']
    summarize = task.summarize
    monkeypatch.setattr(task, 'summarize', lambda total: dict(reversed(summarize(total).items())))
    metric.process(None, [sample({'depth': depths(2.0)}, {'depth': depths(3.0)})])
    metrics = metric.evaluate(1)
    assert metrics['per_image/depth/abs_err'] == metrics['depth/abs_err'] == 1.0


def test_details_can_be_left_out() -> None:
    metric = make_metric(details=False)
    metric.process(None, clips())

    metrics = metric.evaluate(3)

    assert metrics['depth/abs_err'] == 3.5
    assert {key.partition('/')[0] for key in metrics} == {'depth'}


def test_samples_may_lack_labels() -> None:
    metric = make_metric()
    metric.process(None, [sample({'depth': depths(2.0)}, {'depth': depths(3.0), 'semseg': labels(1)})])
    metric.process(None, [sample({}, {'depth': depths(3.0), 'semseg': labels(1)})])
    metric.process(None, [sample({'depth': depths(2.0)}, {'depth': depths(5.0), 'semseg': labels(1)})])

    metrics = metric.evaluate(3)

    assert metrics['depth/abs_err'] == 2.0
    assert not any(key.startswith('semseg') for key in metrics)


def test_a_task_that_one_offset_lacks_is_the_mean_of_the_others() -> None:
    metric = make_metric()
    metric.process(None, clips())
    metric.process(None, [sample({'semseg': labels(0, 1)}, {'semseg': labels(0, 0)}, 2)])

    metrics = metric.evaluate(4)

    assert metrics['semseg/pixel_acc'] == metrics['offset_2/semseg/pixel_acc'] == 50.0
    assert 'offset_0/semseg/pixel_acc' not in metrics


def test_labels_of_tasks_that_are_not_scored_are_let_pass() -> None:
    metric = make_metric({'depth': TASKS['depth']})
    metric.process(None, [sample({'depth': depths(2.0), 'semseg': labels(0)}, {'depth': depths(3.0)})])

    assert {key.partition('/')[0] for key in metric.evaluate(1)} == {'depth'}


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match='no sample'):
        make_metric().evaluate(0)


def test_an_evaluation_starts_from_nothing() -> None:
    metric = make_metric(per_image=True)
    for error in (1.0, 3.0):
        metric.process(None, [sample({'depth': depths(2.0)}, {'depth': depths(2.0 + error)})])
        metrics = metric.evaluate(1)
        assert metrics['depth/abs_err'] == metrics['per_image/depth/abs_err'] == error


def test_a_metric_needs_tasks() -> None:
    with pytest.raises(ValueError, match=r'the metric.*resolve\(cfg\)'):
        MultiTaskMetric().dataset_meta = {}


def test_a_baseline_gives_delta_m(tmp_path: Path) -> None:
    path = tmp_path / 'metrics.json'
    path.write_text(json.dumps({'depth/abs_err': 7.0, 'semseg/mIoU': 50.0, 'meta': {'config': 'x.py'}}))
    metric = make_metric(baseline=str(path))
    metric.process(None, clips())
    metric.process(None, [sample({'semseg': labels(0, 1)}, {'semseg': labels(0, 1)}, 2)])

    # Half the error, twice the mIoU.
    assert metric.evaluate(4)['delta_m'] == pytest.approx((50 + 100) / 2)
    # A task without a label does not count.
    metric.process(None, clips())
    assert metric.evaluate(3)['delta_m'] == pytest.approx(50)


def test_a_baseline_that_lacks_a_task_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / 'metrics.json'
    path.write_text(json.dumps({'depth/abs_err': 7.0}))
    metric = MultiTaskMetric(baseline=str(path))
    with pytest.raises(ValueError, match=r"baseline.*'semseg/mIoU'.*\['depth/abs_err'\]"):
        metric.dataset_meta = {'tasks': TASKS}


def test_it_serves_mmengines_evaluator() -> None:
    evaluator = Evaluator(MultiTaskMetric())
    evaluator.dataset_meta = {'tasks': TASKS}
    data_sample = MultiTaskDataSample(metainfo={'offset': 1})
    data_sample.gt, data_sample.pred = PixelData(depth=depths(2.0)), PixelData(depth=depths(3.0))

    evaluator.process([data_sample])

    assert evaluator.evaluate(1)['offset_1/depth/abs_err'] == 1.0


# Several processes


def numbered(number: int) -> dict[str, Any]:
    """A sample whose numbers are eighths, so that sums do not depend on their order.

    Angles, logarithms and the scores of single images are no such numbers.
    """

    def maps(seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        semseg = torch.randint(0, 4, (1, 6, 5), generator=generator)
        semseg[semseg == 3] = 255
        depth = 2.0 ** torch.randint(-2, 4, (1, 6, 5), generator=generator)
        normals = torch.nn.functional.normalize(torch.randn(3, 6, 5, generator=generator), dim=0)
        return {'semseg': semseg, 'depth': depth, 'normals': normals}

    gt, pred = maps(number), maps(1000 + number)
    pred['semseg'] = pred['semseg'].clamp(max=2)
    pred['depth'] = pred['depth'] + number % 5 / 8
    if number % 3 == 0:
        del gt['normals']
    return sample(gt, pred, number % 2)


def score(_: int = 0) -> tuple[list[int], dict[str, float]]:
    """Score this process's share of seven samples, in batches of two; return their numbers and the metrics."""
    tasks = {
        'semseg': dict(type='SemanticSegmentation', classes=['a', 'b', 'c']),
        'depth': dict(type='DepthEstimation', max_depth=7.0),
        'normals': dict(type='SurfaceNormals'),
    }
    metric = make_metric(tasks, per_image=True)
    seen = list(DefaultSampler(range(7), shuffle=False, round_up=False))
    for start in range(0, len(seen), 2):
        metric.process(None, [numbered(number) for number in seen[start : start + 2]])
    return seen, metric.evaluate(7)


def test_two_processes_score_as_one_does(in_processes: Callable[..., list[Any]]) -> None:
    seen, alone = score()
    (first, found), (second, other) = in_processes(score)
    assert [len(numbers) for numbers in (seen, first, second)] == [7, 4, 3], 'no sample is repeated'
    assert found == other, 'every process has the result'
    assert alone.keys() == found.keys()
    inexact = ('depth/rmse_log', 'normals/mean')
    for name, value in alone.items():
        if name.endswith(inexact) or name.startswith('per_image/'):
            assert found[name] == pytest.approx(value, rel=1e-14), name
        else:
            assert found[name] == value, name
    assert len(alone) == 5 * (2 + 7 + 5)


def test_each_class_has_its_score() -> None:
    metric = make_metric()
    metric.process(None, [sample({'semseg': labels(0, 0, 1, 255)}, {'semseg': labels(0, 1, 1, 1)})])
    metrics = metric.evaluate(1)
    assert metric.class_scores == {'semseg': pytest.approx({'wall': 50.0, 'floor': 50.0})}
    assert metric.confusion == {'semseg': {'wall': {'wall': 1, 'floor': 1}, 'floor': {'wall': 0, 'floor': 1}}}
    assert all(key.count('/') == 1 for key in metrics), 'the scores of classes are no metrics'


def test_the_mean_of_the_classes_is_the_metric() -> None:
    """For clips both are means over the offsets, and all classes appear at each."""
    classes = ['wall', 'floor', 'sky', 'never', 'unscored']
    task = dict(type='SemanticSegmentation', classes=classes, unscored=['unscored'])
    metric = make_metric({'semseg': task})
    generator = torch.Generator().manual_seed(0)
    for offset in (0, 1, 1):
        maps = [torch.randint(3, (1, 8, 8), generator=generator) for _ in range(2)]
        metric.process(None, [sample({'semseg': maps[0]}, {'semseg': maps[1]}, offset)])
    miou = metric.evaluate(3)['semseg/mIoU']
    scores = metric.class_scores['semseg']
    assert list(scores) == ['wall', 'floor', 'sky', 'never']
    assert math.isnan(scores.pop('never'))
    assert sum(scores.values()) / 3 == pytest.approx(miou)


def test_metrics_that_a_task_does_not_declare(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = make_metric()
    metric.process(None, [sample({'depth': depths(2.0)}, {'depth': depths(3.0)})])
    monkeypatch.setattr(type(metric.tasks['depth']), 'summarize', lambda self, totals: {'error': 1.0})
    with pytest.raises(ValueError, match=r"DepthEstimation\.summarize returned .*'error'.*higher_is_better"):
        metric.evaluate(1)


def test_measurements_in_float32_are_summed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = make_metric()
    task = metric.tasks['depth']
    monkeypatch.setattr(task, 'measure', lambda prediction, target: torch.tensor([2.0**24, 1.0]))
    monkeypatch.setattr(task, 'summarize', lambda total: dict.fromkeys(task.higher_is_better, float(total.sum())))
    metric.process(None, [sample({'depth': depths(2.0)}, {'depth': depths(3.0)})] * 2)
    metric.process(None, [sample({'depth': depths(2.0)}, {'depth': depths(3.0)})])
    assert metric.evaluate(3)['depth/abs_err'] == 3 * 2**24 + 3
    change = TemporalConsistency()
    for count in 2.0**24, 1.0:
        change.add((None, 'depth'), torch.tensor([count]))
    assert change.totals[None, 'depth'].item() == 2**24 + 1


def test_an_offset_without_a_valid_pixel_does_not_count() -> None:
    metric = make_metric(per_image=True)
    for offset, label in ((0, 2.0), (1, 0.0)):
        metric.process(None, [sample({'depth': depths(label)}, {'depth': depths(3.0)}, offset)])
    metrics = metric.evaluate(2)
    assert metrics['depth/abs_err'] == metrics['per_image/depth/abs_err'] == 1.0
    assert math.isnan(metrics['offset_1/depth/abs_err'])
