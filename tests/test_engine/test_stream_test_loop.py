"""Testing on whole videos: the predictions of a stream by hand, every frame once, and the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner

from mmmtl.engine import StreamTestLoop, build_runner
from mmmtl.evaluation import MultiTaskMetric
from mmmtl.profiling import average_macs, build_on_meta, count_cost
from mmmtl.registry import METRICS

STREAM = {
    'test_cfg': dict(type='StreamTestLoop'),
    'test_evaluator': [dict(type='MultiTaskMetric'), dict(type='TemporalConsistency'), dict(type='Notes')],
    'test_dataloader.dataset.num_videos': 2,
}
LENGTH = 15


@METRICS.register_module()
class Notes(BaseMetric):
    """A metric that keeps its samples."""

    default_prefix = ''
    exact_flow = True
    samples: list[dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.samples = []

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.samples += data_samples

    def evaluate(self, size: int) -> dict[str, float]:
        return {}

    def compute_metrics(self, results: list) -> dict[str, float]:
        raise AssertionError


@pytest.fixture
def stream(make_config: Callable[..., Any]) -> Callable[..., tuple[Runner, dict[str, float], list[dict[str, Any]]]]:
    """Run the loop; return runner, metrics and samples."""

    def run(name: str = 'tiny_video', **options: Any) -> tuple[Runner, dict[str, float], list[dict[str, Any]]]:
        runner = build_runner(make_config(name, 'run', **{**STREAM, **options}))
        metrics = runner.test()
        return runner, metrics, runner.test_loop.evaluator.metrics[-1].samples

    return run


def by_hand(runner: Runner) -> list[dict[str, torch.Tensor]]:
    """Predictions of both videos from the model's own stream, in eval mode."""
    data, model = runner.test_loop.dataloader.dataset, runner.model.eval()
    maps = []
    with torch.no_grad():
        for video in range(2):
            state = None
            for time in range(LENGTH):
                item = data[video * LENGTH + time]
                frames = model.data_preprocessor({'inputs': [item['inputs']]})['inputs']
                logits, _, state = model.step(frames, state)
                maps.append(dict(model.decode(logits, frames.shape[-2:])[0].items()))
    return maps


@pytest.mark.parametrize('batch_size', [1, 4, 15])
def test_it_is_the_models_stream_over_every_video(stream: Callable[..., Any], batch_size: int) -> None:
    runner, metrics, samples = stream(**{'test_dataloader.batch_size': batch_size})
    assert isinstance(runner.test_loop, StreamTestLoop)
    places = [(s['video'], s['time']) for s in samples]
    assert places == [(f'val_{v:04d}', t) for v in range(2) for t in range(LENGTH)], 'each once, in order'
    for sample, expected in zip(samples, by_hand(runner), strict=True):
        for name in expected:
            torch.testing.assert_close(sample['pred'][name], expected[name])
    assert [s['is_key_frame'] for s in samples] == [t % 5 == 0 for _, t in places], 'every video begins anew'
    assert metrics['stream/frames'] == 30
    assert metrics['stream/key_frame_ratio'] == pytest.approx(1 / 5)
    assert runner.test_loop.frames == Counter({(32, 64, 'key'): 6, (32, 64, 'non_key'): 24})


def test_labelled_frames_go_to_the_usual_metric(stream: Callable[..., Any]) -> None:
    """The config has a label at every third frame."""
    runner, metrics, samples = stream()
    labelled = [s for s in samples if 'depth' in s['gt']]
    assert [s['time'] for s in labelled] == [0, 3, 6, 9, 12] * 2
    metric = MultiTaskMetric()
    metric.dataset_meta = runner.test_loop.dataloader.dataset.metainfo
    metric.process(None, labelled)
    expected = metric.evaluate(len(labelled))
    assert len(expected) == 14
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert not any('offset' in name for name in metrics)


def test_neighbours_go_to_temporal_metrics(stream: Callable[..., Any]) -> None:
    _, metrics, samples = stream(**{'test_dataloader.dataset.step': 1})
    names = [f'temporal/{m}' for m in ('depth/warp_err', 'depth/warp_rel_err', 'normals/warp_err')]
    names += [f'temporal/semseg/{m}' for m in ('TC', 'VC8')]
    assert {name for name in metrics if name.startswith('temporal/')} == set(names), '15 frames are too few for VC16'
    assert all(torch.tensor(metrics[name]).isfinite() for name in names)
    assert ['flow' in s for s in samples] == ([False] + [True] * 14) * 2, 'from the data set, which knows it'


def test_motion_is_only_read_for_who_wants_it(stream: Callable[..., Any]) -> None:
    metrics = [dict(type='TemporalConsistency', exact_flow=False), dict(type='Plain')]
    METRICS.register_module(name='Plain', module=type('Plain', (Notes,), {'exact_flow': False}), force=True)
    _, estimated, samples = stream(test_evaluator=metrics)
    assert not any('flow' in s for s in samples)
    assert 'temporal/depth/warp_err' in estimated


def test_an_image_model_sees_every_frame_alone(stream: Callable[..., Any]) -> None:
    runner, metrics, samples = stream('tiny_image')
    assert metrics['stream/frames'] == 30
    assert 'stream/key_frame_ratio' not in metrics
    assert 'temporal/normals/warp_err' in metrics
    data, model = runner.test_loop.dataloader.dataset, runner.model
    with torch.no_grad():
        for index in (0, 7, 29):
            (expected,) = model.test_step({k: [v] for k, v in data[index].items()})
            torch.testing.assert_close(samples[index]['pred']['depth'], expected.pred.depth)


def test_a_second_test_begins_anew(stream: Callable[..., Any]) -> None:
    runner, metrics, _ = stream()
    again = runner.test()
    assert again == pytest.approx(metrics)
    assert runner.test_loop.frames.total() == 30


def test_policies_are_counted(stream: Callable[..., Any]) -> None:
    """A threshold of 0 makes every frame a key frame, a large one only the first."""
    policy = 'model.key_frame_policy'
    for threshold, ratio in ((0.0, 1.0), (100.0, 1 / 15)):
        _, metrics, _ = stream(**{policy: dict(type='FrameChange', threshold=threshold)})
        assert metrics['stream/key_frame_ratio'] == pytest.approx(ratio)
    budget = dict(type='CostBudget', budget=2.0, key_cost=4.0, non_key_cost=1.0)
    _, metrics, samples = stream(**{policy: budget})
    assert [s['time'] for s in samples if s['is_key_frame']] == [0, 3, 6, 9, 12] * 2
    assert metrics['stream/key_frame_ratio'] == pytest.approx(1 / 3)


def test_what_the_frames_have_cost(make_config: Callable[..., Any]) -> None:
    model = build_on_meta(make_config())
    macs = {size: count_cost(model, size).total().macs for size in ((32, 64), (64, 64))}
    frames = {(32, 64, 'key'): 2, (32, 64, 'non_key'): 5, (64, 64, 'non_key'): 3}
    small, large = macs[32, 64], macs[64, 64]
    assert len({small['key'], small['non_key'], large['non_key']}) == 3
    expected = (2 * small['key'] + 5 * small['non_key'] + 3 * large['non_key']) / 10
    assert average_macs(model, frames) == pytest.approx(expected, rel=1e-12)
    image = build_on_meta(make_config('tiny_image'))
    assert average_macs(image, {(32, 64, 'image'): 4}) == count_cost(image, (32, 64)).total().macs['image']
