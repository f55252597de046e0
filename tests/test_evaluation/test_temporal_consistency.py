"""Temporal metrics: translations with a known flow, flickers of a known size, and windows, all by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from torch import Tensor

from mmmtl.datasets import SyntheticVideo
from mmmtl.evaluation import TemporalConsistency, additive_metric
from mmmtl.evaluation.temporal_consistency import resize_nearest
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import build_tasks, metric_direction

TASKS = {
    'semseg': dict(type='SemanticSegmentation', classes=['a', 'b', 'c']),
    'depth': dict(type='DepthEstimation', max_depth=20.0),
    'normals': dict(type='SurfaceNormals'),
}
SIZE = (6, 12)


def make_metric(tasks: dict[str, Any] | None = None, **kwargs: Any) -> TemporalConsistency:
    metric = TemporalConsistency(**kwargs)
    metric.dataset_meta = {'tasks': tasks or TASKS}
    return metric


def still(size: tuple[int, int] = SIZE) -> Tensor:
    return torch.zeros(2, *size)


def frame(
    pred: dict[str, Tensor],
    time: int,
    flow: Tensor | None = None,
    gt: dict[str, Tensor] | None = None,
    video: str = 'v',
) -> tuple[Tensor, dict[str, Any]]:
    """A black image and the sample of a frame."""
    size = next(iter(pred.values())).shape[-2:]
    sample = {'video': video, 'time': time, 'pred': pred, 'gt': gt or {}}
    return torch.zeros(3, *size, dtype=torch.uint8), sample if flow is None else {**sample, 'flow': flow}


def process(metric: TemporalConsistency, frames: Sequence[tuple[Tensor, dict[str, Any]]]) -> None:
    metric.process({'inputs': [image for image, _ in frames]}, [sample for _, sample in frames])


def score(frames: Sequence[tuple[Tensor, dict[str, Any]]], tasks: dict[str, Any] | None = None) -> dict[str, float]:
    metric = make_metric(tasks)
    process(metric, frames)
    return metric.evaluate(len(frames))


def panorama(seed: int = 0, length: int = 30) -> dict[str, Tensor]:
    """Maps of a wide scene that a camera moves along."""
    rng = torch.Generator().manual_seed(seed)
    normals = torch.randn(3, SIZE[0], length, generator=rng)
    return {
        'semseg': torch.randint(0, 3, (1, SIZE[0], length), generator=rng),
        'depth': torch.rand(1, SIZE[0], length, generator=rng) * 9 + 1,
        'normals': normals / normals.norm(dim=0),
    }


def window(maps: dict[str, Tensor], start: int) -> dict[str, Tensor]:
    return {name: value[..., start : start + SIZE[1]] for name, value in maps.items()}


def test_a_translated_sequence_is_perfectly_consistent() -> None:
    """The camera moves 2 pixels to the right every frame, so everything moves 2 to the left."""
    scene = panorama()
    flow = still() + torch.tensor([-2.0, 0.0]).view(2, 1, 1)
    metrics = score([frame(window(scene, 2 * t), t, flow if t else None) for t in range(5)])
    assert metrics == pytest.approx(
        {
            'temporal/semseg/TC': 100.0,
            'temporal/depth/warp_err': 0.0,
            'temporal/depth/warp_rel_err': 0.0,
            'temporal/normals/warp_err': 0.0,
        },
        abs=1e-5,
    )
    # Without following the motion, the maps differ.
    wrong = score([frame(window(scene, 2 * t), t, still()) for t in range(5)])
    assert wrong['temporal/semseg/TC'] < 40
    assert wrong['temporal/depth/warp_err'] > 1
    assert wrong['temporal/normals/warp_err'] > 45


def test_a_flicker_of_a_known_size() -> None:
    def turned(degrees: float) -> Tensor:
        angle = math.radians(degrees)
        return torch.tensor([math.sin(angle), 0.0, -math.cos(angle)]).view(3, 1, 1).expand(3, *SIZE)

    labels = torch.zeros(1, *SIZE, dtype=torch.int64)
    other = labels.clone()
    other[:, :, :3] = 1  # a quarter of the image changes its class
    maps = [
        {'semseg': labels, 'depth': torch.full((1, *SIZE), 4.0), 'normals': turned(0)},
        {'semseg': other, 'depth': torch.full((1, *SIZE), 6.0), 'normals': turned(30)},
    ]
    metrics = score([frame(maps[t % 2], t, still()) for t in range(5)])
    # Pairs: 54 pixels stay class 0, twice 18 go from 0 to 1 and back: the union of 0 is all, that of 1 has no overlap.
    assert metrics['temporal/semseg/TC'] == pytest.approx(100 * (0.75 + 0.0) / 2)
    assert metrics['temporal/depth/warp_err'] == pytest.approx(2.0)
    assert metrics['temporal/depth/warp_rel_err'] == pytest.approx(2 / 5)
    assert metrics['temporal/normals/warp_err'] == pytest.approx(30.0, abs=1e-4)


def test_tc_is_that_of_all_pairs_together() -> None:
    one = torch.zeros(1, *SIZE, dtype=torch.int64)
    two = one.clone()
    two[:, :, 6:] = 1
    frames = [frame({'semseg': labels}, t, still()) for t, labels in enumerate((one, two, two))]
    semseg = TASKS['semseg']
    # 72 pixels a pair: class 0 stays for 36 + 36 of 72 + 36, class 1 for 36 of 36 + 36.
    assert score(frames, {'semseg': semseg})['temporal/semseg/TC'] == pytest.approx(100 * (72 / 108 + 36 / 72) / 2)


def test_what_gets_hidden_does_not_count() -> None:
    """A near bar of two columns moves over a far wall: only the part of the wall that it hides would differ."""
    depth = [torch.full((1, *SIZE), 10.0) for _ in range(2)]
    depth[0][..., 2:4] = depth[1][..., 5:7] = 2.0
    flow = still()
    flow[0, :, 2:4] = 3
    tasks = {'depth': TASKS['depth']}
    metrics = score([frame({'depth': depth[0]}, 0), frame({'depth': depth[1]}, 1, flow)], tasks)
    assert metrics['temporal/depth/warp_err'] == 0
    # Pixels without a known motion do not count either: without the flow of the bar, the wall is where it was.
    unknown = still()
    unknown[:, :, 2:4] = unknown[:, :, 5:7] = float('nan')
    assert score([frame({'depth': depth[0]}, 0), frame({'depth': depth[1]}, 1, unknown)], tasks) == metrics
    # The test can fail: without any mask the bar goes and comes, 4 of 12 columns differ by 8.
    bad = score([frame({'depth': depth[0]}, 0), frame({'depth': depth[1]}, 1, still())], tasks)
    assert bad['temporal/depth/warp_err'] == pytest.approx(8 * 4 / 12)


def texture(seed: int) -> Tensor:
    """A channel of an image, (1, 64, 136)."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 68, 140, generator=rng), 5, 1)[0]
    return (255 * (noise - noise.min()) / (noise.max() - noise.min())).to(torch.uint8)


def test_motion_that_is_not_known_is_estimated() -> None:
    scene = texture(0).expand(3, -1, -1)
    depth = 1 + scene[:1].float() / 32
    frames = []
    for t in range(3):
        part = slice(3 * t, 3 * t + 96)
        sample = {'video': 'v', 'time': t, 'pred': {'depth': depth[..., part]}, 'gt': {}}
        frames.append((scene[..., part], sample))
    tasks = {'depth': TASKS['depth']}
    estimated = score(frames, tasks)['temporal/depth/warp_err']
    resting = score([(p, {**s, 'flow': still((64, 96))}) for p, s in frames], tasks)['temporal/depth/warp_err']
    assert estimated < 0.1 < 0.5 < resting
    # The same if the known motion, which is wrong here, is not used.
    metric = make_metric(tasks, exact_flow=False)
    process(metric, [(p, {**s, 'flow': still((64, 96))}) for p, s in frames])
    assert metric.evaluate(3)['temporal/depth/warp_err'] == estimated


def test_motion_is_that_of_the_brightness() -> None:
    """Red is brighter than blue: what is red moves with the maps, and what is blue rests."""
    blue, red = texture(0), texture(1)
    frames = []
    for t in range(2):
        part = slice(3 * t, 3 * t + 96)
        sample = {'video': 'v', 'time': t, 'pred': {'depth': 1 + red[..., part].float() / 32}, 'gt': {}}
        frames.append((torch.cat([blue[..., :96], torch.zeros_like(blue[..., :96]), red[..., part]]), sample))
    # The motion of blue, with the channels the other way round, gives 0.9.
    assert score(frames, {'depth': TASKS['depth']})['temporal/depth/warp_err'] < 0.3


def test_maps_take_the_size_of_the_picture_by_the_nearest_pixel() -> None:
    assert resize_nearest(torch.tensor([[[0, 2, 4, 1]]]), (1, 2)).tolist() == [[[2, 1]]]
    assert resize_nearest(torch.tensor([[[0.5], [2.0]]]), (4, 1)).tolist() == [[[0.5], [0.5], [2.0], [2.0]]]


def test_everything_is_compared_at_the_size_of_the_picture() -> None:
    """Labels, predictions and the exact flow are twice as large as the image that the model sees."""
    scene = {name: value.repeat_interleave(2, -1).repeat_interleave(2, -2) for name, value in panorama().items()}
    flow = torch.full((2, 12, 24), 0.0) + torch.tensor([-4.0, 0.0]).view(2, 1, 1)
    frames = []
    for t in range(3):
        pred = {name: value[..., 4 * t : 4 * t + 24] for name, value in scene.items()}
        image, sample = frame(pred, t, flow if t else None)
        frames.append((image[:, ::2, ::2], sample))
    metrics = score(frames)
    assert metrics['temporal/semseg/TC'] == 100
    assert metrics['temporal/depth/warp_err'] == pytest.approx(0, abs=1e-5)


# ---------------------------------------------------------------- what is compared with what


def depths(*values: float) -> list[Tensor]:
    return [torch.full((1, *SIZE), value) for value in values]


def test_only_neighbours_of_one_video_are_compared() -> None:
    tasks = {'depth': TASKS['depth']}
    a, b, c = depths(1.0, 2.0, 7.0)
    places = [(a, 'v', 0), (b, 'v', 1), (c, 'v', 3), (a, 'w', 4), (b, 'w', 5)]
    frames = [frame({'depth': d}, time, still(), video=video) for d, video, time in places]
    assert score(frames, tasks)['temporal/depth/warp_err'] == pytest.approx(1.0)
    with pytest.raises(ValueError, match='no video'):
        score(frames[1:4], tasks)


def test_a_task_compares_a_frame_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = make_metric({'depth': TASKS['depth']})
    monkeypatch.setattr(metric.tasks['depth'], 'differences', lambda first, second: torch.cat([second - first] * 2))
    process(metric, [frame({'depth': d}, t, still()) for t, d in enumerate(depths(2.0, 5.0))])
    assert metric.evaluate(2)['temporal/depth/warp_err'] == pytest.approx(3.0)


def test_sums_add_up_however_videos_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    videos = []
    for number, length in enumerate((9, 4, 12)):
        maps = [window(panorama(10 * number + t), 0) for t in range(length)]
        gt = {'semseg': torch.zeros(1, *SIZE, dtype=torch.int64)}
        videos.append([frame(m, t, still() if t else None, gt, f'v{number}') for t, m in enumerate(maps)])
    together = make_metric()
    process(together, [f for video in videos for f in video])
    parts = [make_metric() for _ in range(2)]
    for number, video in enumerate(videos):
        for one in video:  # batches do not matter either
            process(parts[number % 2], [one])
    merged = {key: sum(p.totals[key] for p in parts if key in p.totals) for key in together.totals}
    assert merged.keys() == {(None, 'semseg'), (None, 'depth'), (None, 'normals'), (8, 'semseg')}
    for key, total in together.totals.items():
        assert total.dtype == torch.float64
        torch.testing.assert_close(merged[key], total, rtol=1e-12, atol=0)
    expected = together.evaluate(25)
    monkeypatch.setattr(additive_metric, 'merge_totals', lambda totals: merged)
    assert parts[0].evaluate(25) == pytest.approx(expected, rel=1e-12)
    assert not together.totals, 'the next test begins anew'


def test_an_evaluation_starts_from_nothing() -> None:
    metric = make_metric({'depth': TASKS['depth']})
    for first, change in ((0, 1.0), (2, 3.0)):  # the second pair follows the first in the same video
        process(metric, [frame({'depth': d}, first + t, still()) for t, d in enumerate(depths(2.0, 2.0 + change))])
        assert metric.evaluate(2)['temporal/depth/warp_err'] == pytest.approx(change)


def test_it_needs_whole_videos() -> None:
    image, sample = frame({'depth': depths(1.0)[0]}, 0)
    for bad in ({'pred': sample['pred'], 'gt': {}}, {**sample, 'offset': 2}):
        with pytest.raises(ValueError, match=r'tools/test\.py --stream.*StreamTestLoop'):
            make_metric({'depth': TASKS['depth']}).process({'inputs': [image]}, [bad])
    with pytest.raises(ValueError, match='StreamTestLoop'):
        make_metric({'depth': TASKS['depth']}).process({'inputs': [image.expand(3, *image.shape)]}, [sample])


def test_it_serves_mmengines_evaluator() -> None:
    evaluator = Evaluator(TemporalConsistency())
    evaluator.dataset_meta = {'tasks': {'depth': TASKS['depth']}}
    samples = []
    for time, depth in enumerate(depths(2.0, 3.0)):
        data_sample = MultiTaskDataSample(metainfo={'video': 'v', 'time': time})
        data_sample.gt, data_sample.pred = PixelData(), PixelData(depth=depth)
        data_sample.flow = still()
        samples.append(data_sample)
    evaluator.process(samples, {'inputs': [torch.zeros(3, *SIZE, dtype=torch.uint8)] * 2})
    assert evaluator.evaluate(2)['temporal/depth/warp_err'] == pytest.approx(1.0)


def test_directions() -> None:
    tasks = build_tasks(TASKS, 'the test')
    assert metric_direction('temporal/semseg/TC', tasks)
    assert metric_direction('temporal/semseg/VC8', tasks)
    assert not metric_direction('temporal/depth/warp_err', tasks)
    assert not metric_direction('temporal/normals/warp_err', tasks)


# ---------------------------------------------------------------- video consistency


def consistency(
    labels: Sequence[Sequence[int] | None], predictions: Sequence[Sequence[int]], window: int
) -> float | None:
    """VC of a video of rows of pixels."""
    metric = make_metric({'semseg': TASKS['semseg']})
    metric.tasks['semseg'].consistency_windows = (window,)
    row = lambda values: torch.tensor(values).view(1, 1, -1).expand(1, 12, -1)  # noqa: E731
    process(
        metric,
        [
            frame({'semseg': row(p)}, t, still((12, len(p))), {} if g is None else {'semseg': row(g)})
            for t, (g, p) in enumerate(zip(labels, predictions, strict=True))
        ],
    )
    return metric.evaluate(len(labels)).get(f'temporal/semseg/VC{window}')


def test_vc_by_hand() -> None:
    labels = [[0, 0, 1, 2]] * 3 + [[0, 0, 1, 1]]
    predictions = [[0, 1, 2, 0], [0, 1, 2, 0], [0, 2, 2, 0], [0, 2, 2, 0]]
    # Frames 0-2: labels stay everywhere, predictions at 0, 2, 3 (that they are wrong does not matter): 3 / 4.
    # Frames 1-3: labels stay at 0, 1, 2, predictions of these at 0, 2: 2 / 3.
    assert consistency(labels, predictions, 3) == pytest.approx(100 * (3 / 4 + 2 / 3) / 2)
    # Frames 0-3: 2 / 3. All pairs: 1, 3 / 4, and of the first three 1.
    assert consistency(labels, predictions, 4) == pytest.approx(100 * 2 / 3)
    assert consistency(labels, predictions, 2) == pytest.approx(100 * (1 + 3 / 4 + 1) / 3)
    assert consistency(labels, predictions, 5) is None, 'the video is too short'


def test_vc_leaves_out_what_is_not_labelled() -> None:
    stays, flickers = [[0, 0]] * 4, [[0, 0], [0, 1], [0, 0], [0, 1]]
    assert consistency([[1, 255]] * 4, flickers, 2) == pytest.approx(100)
    assert consistency([[1, 1]] * 4, flickers, 2) == pytest.approx(50)
    assert consistency([[255, 255]] * 4, stays, 2) is None
    # A frame without labels ends all windows: of 7 frames only 0-1 and 3-6 are labelled.
    labels = [[1, 1], [1, 1], None, [1, 1], [1, 1], [1, 1], [1, 1]]
    predictions = [[0, 0]] * 5 + [[0, 1]] * 2
    assert consistency(labels, predictions, 3) == pytest.approx(100 * (1 / 2 + 1 / 2) / 2)


def test_a_missing_label_ends_the_windows_of_its_task_alone() -> None:
    metric = make_metric({'always': TASKS['semseg'], 'sometimes': TASKS['semseg']})
    zeros = torch.zeros(1, *SIZE, dtype=torch.int64)
    for task in metric.tasks.values():
        task.consistency_windows = (3,)
    for t in range(3):
        gt = dict.fromkeys(['always'] if t == 1 else metric.tasks, zeros)
        process(metric, [frame(dict.fromkeys(metric.tasks, zeros), t, still(), gt)])
    metrics = metric.evaluate(3)
    assert metrics['temporal/always/VC3'] == 100 and 'temporal/sometimes/VC3' not in metrics


def test_vc_equals_its_definition_on_random_maps() -> None:
    """Compare with loops over windows, as in the definition."""
    rng = torch.Generator().manual_seed(1)

    def flickering(rate: float) -> Tensor:
        change = torch.rand(20, 40, generator=rng) < rate
        values = torch.randint(0, 3, (20, 40), generator=rng)
        for t in range(1, 20):
            values[t] = torch.where(change[t], values[t], values[t - 1])
        return values

    labels, predictions = flickering(0.1), flickering(0.1)
    labels[:, :5] = 255
    for length in (2, 8, 16):
        shares = []
        for start in range(20 - length + 1):
            g, p = labels[start : start + length], predictions[start : start + length]
            common = (g == g[0]).all(0) & (g[0] != 255)
            if common.any():
                shares.append(float((common & (p == p[0]).all(0)).sum() / common.sum()))
        got = consistency(labels.tolist(), predictions.tolist(), length)
        assert len(shares) > 3
        assert got == pytest.approx(100 * sum(shares) / len(shares), rel=1e-6)


def test_the_truth_of_a_scene_is_nearly_consistent() -> None:
    """Labels of a moving camera as predictions: far steadier along the motion, exact or estimated, than in place."""
    tasks = {**TASKS, 'semseg': dict(type='SemanticSegmentation', classes='synthetic')}
    load = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]
    data = SyntheticVideo(
        split='val',
        num_videos=2,
        length=3,
        size=(160, 320),
        whole_videos=True,
        exact_flow=True,
        pipeline=load,
        metainfo=dict(tasks=tasks),
    )
    items = [data[index] for index in range(len(data))]

    def truth(exact_flow: bool, scale: float = 1.0) -> dict[str, float]:
        metric = make_metric(tasks, exact_flow=exact_flow)
        for item in items:
            sample = item['data_samples']
            maps = dict(sample.gt.items())
            moved = {'flow': scale * sample.flow} if 'flow' in sample else {}
            metric.process({'inputs': [item['inputs']]}, [dict(sample.metainfo_items(), gt=maps, pred=maps, **moved)])
        return metric.evaluate(len(items))

    exact, estimated, resting = truth(True), truth(False), truth(True, scale=0.0)
    for metrics in (exact, estimated):
        assert metrics['temporal/semseg/TC'] > resting['temporal/semseg/TC'] + 1 > 90
        assert metrics['temporal/normals/warp_err'] < 0.7 * resting['temporal/normals/warp_err']
        assert metrics['temporal/depth/warp_err'] < resting['temporal/depth/warp_err']
