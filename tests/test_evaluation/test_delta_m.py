"""The mean relative gain over a baseline."""

from __future__ import annotations

import pytest

from mmmtl.evaluation import delta_m, delta_m_meta
from mmmtl.tasks import build_tasks

TASKS = build_tasks(
    {
        'semseg': dict(type='SemanticSegmentation', classes=['a', 'b']),
        'depth': dict(type='DepthEstimation', max_depth=10.0),
        'normals': dict(type='SurfaceNormals'),
    },
    'the test',
)
BASELINE = {'semseg/mIoU': 40.0, 'depth/abs_err': 0.5, 'normals/mean': 20.0, 'depth/delta1': 80.0}


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({}, 0.0),
        ({'semseg/mIoU': 44.0}, 10 / 3),  # higher is better
        ({'semseg/mIoU': 36.0}, -10 / 3),
        ({'depth/abs_err': 0.4}, 20 / 3),  # lower is better
        ({'depth/abs_err': 0.6}, -20 / 3),
        ({'normals/mean': 25.0}, -25 / 3),
        ({'depth/delta1': 10.0}, 0.0),  # only the primary metric of a task counts
        ({'semseg/mIoU': 44.0, 'depth/abs_err': 0.4, 'normals/mean': 19.0}, (10 + 20 + 5) / 3),
    ],
)
def test_gains_count_in_the_direction_of_their_metric(change: dict[str, float], expected: float) -> None:
    assert delta_m({**BASELINE, **change}, BASELINE, TASKS) == pytest.approx(expected)


def test_one_task_counts_alone() -> None:
    assert delta_m({'depth/abs_err': 0.25}, BASELINE, {'depth': TASKS['depth']}) == pytest.approx(50)


@pytest.mark.parametrize('value', [None, 0.0, -0.5, float('nan')])
def test_a_baseline_without_a_metric_is_refused(value: float | None) -> None:
    with pytest.raises(ValueError, match=r"'depth/abs_err'.*\['depth/abs_err', 'depth/delta1'"):
        delta_m(BASELINE, {**BASELINE, 'depth/abs_err': value}, TASKS)  # type: ignore[dict-item]


@pytest.mark.parametrize('value', [None, 'absent'])
def test_a_model_without_a_metric_is_refused(value: str | None) -> None:
    metrics = {**BASELINE, 'depth/abs_err': None}
    if value == 'absent':
        metrics.pop('depth/abs_err')
    with pytest.raises(ValueError, match=r"model.*'depth/abs_err'.*tasks\.depth\.primary_metric=rmse"):
        delta_m(metrics, BASELINE, TASKS)  # type: ignore[arg-type]


def test_another_metric_may_stand_for_a_task() -> None:
    tasks = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0, primary_metric='delta1')}, 'the test')

    assert delta_m({'depth/delta1': 88.0}, BASELINE, tasks) == pytest.approx(10)
    assert delta_m_meta('a.json', {**TASKS, **tasks}) == {
        'baseline': 'a.json',
        'better': 'higher',
        'unit': 'percent',
        'metrics': {'semseg/mIoU': 'higher', 'depth/delta1': 'higher', 'normals/mean': 'lower'},
    }
