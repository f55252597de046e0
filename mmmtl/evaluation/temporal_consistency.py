"""How steady predictions are over time: warping errors of all tasks, and the consistency of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.datasets.samplers import is_next_frame
from mmmtl.models.flow import LUMA
from mmmtl.registry import METRICS
from mmmtl.tasks.base import IGNORE

from .additive_metric import AdditiveMetric
from .motion import collision_free, estimate_flow, follow, forward_backward_visible, inside, resize_exact_flow


class _Frame(NamedTuple):
    """What is kept of the frame before."""

    place: dict[str, Any]
    grey: Tensor
    maps: dict[str, Tensor]


class _Run(NamedTuple):
    """Label and prediction (H, W) of the frame before, and since how many frames each pixel has had them."""

    label: Tensor
    prediction: Tensor
    label_age: Tensor
    prediction_age: Tensor


@METRICS.register_module()
class TemporalConsistency(AdditiveMetric):
    """Temporal metrics of all tasks over whole videos, as `temporal/<task>/<metric>`; needs `StreamTestLoop`.

    Every prediction is compared with that of the next frame, which is brought back to it along the motion between the
    two pictures, at the size that the model sees: `Task.measure_change`. It takes no labels. What is not visible in the
    next frame does not count. The motion is the data set's where it knows it, else it is estimated, see
    `mmmtl.evaluation.motion`.

    - `warp_err`: the mean difference, for depth in metres, for normals in degrees; `warp_rel_err` of depth.
    - `TC` of classes: the mIoU of the two, from one confusion matrix of all pairs (of each pair where the task
      aggregates by image), as in ETC, which averages over clips.
    - `VC<n>` of classes: the mean over all windows of n frames of the share of pixels whose prediction stays the same,
      among those whose label stays the same, whether the prediction is right or not. For labels in every frame; pixels
      to be ignored are left out. As VSPW computes VC8 and VC16, except that its code leaves out the last window of a
      video and counts unlabelled pixels that stay so.

    Only sums are exchanged between processes, so the result is the same for any number of them.

    Args:
        exact_flow: use the motion that the data set knows. Without, estimate all of it.

    Reference: Liu et al., Efficient Semantic Video Segmentation with Per-frame Inference, ECCV 2020 (TC); Miao et al.,
    VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild, CVPR 2021 (VC).
    """

    def __init__(self, *, exact_flow: bool = True) -> None:
        super().__init__()
        self.exact_flow = exact_flow
        self._before: _Frame | None = None
        self._runs: dict[str, _Run] = {}

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Compare the next frames, each with the one before it.

        Raises:
            ValueError: these are not frames of whole videos.
        """
        for picture, sample in zip(data_batch['inputs'], data_samples, strict=True):
            if picture.dim() != 3 or 'video' not in sample or 'offset' in sample:
                raise ValueError(
                    'TemporalConsistency needs the frames of whole videos in order: tools/test.py --stream, or '
                    "test_cfg=dict(type='StreamTestLoop')"
                )
            size = (picture.shape[-2], picture.shape[-1])
            red, green, blue = LUMA
            grey = (red * picture[2] + green * picture[1] + blue * picture[0]).round().to(torch.uint8)
            maps = {name: resize_nearest(sample['pred'][name], size) for name in self.tasks}
            before, self._before = self._before, _Frame({k: sample[k] for k in ('video', 'time')}, grey, maps)
            if before is None or not is_next_frame(before.place, sample):
                self._runs.clear()
            else:
                self._compare(before, self._before, sample.get('flow'))
            self._watch(sample)

    def evaluate(self, size: int) -> dict[str, float]:
        """The metrics of everything that was processed, by all processes."""
        totals, self._before = self.take_totals(), None
        self._runs.clear()
        if not totals:
            raise ValueError('nothing to compare: no video has two frames one after the other')
        metrics = {}
        for name, task in self.tasks.items():
            scores = task.summarize_change(totals[None, name])
            for length in task.consistency_windows:
                if (total := totals.get((length, name))) is not None:
                    scores[f'VC{length}'] = 100 * float(total[0] / total[1])
            metrics.update({f'temporal/{name}/{metric}': value for metric, value in scores.items()})
        return metrics

    def _compare(self, first: _Frame, second: _Frame, flow: Tensor | None) -> None:
        """Add the change of every task from a frame to the next."""
        if flow is not None and self.exact_flow:
            flow = resize_exact_flow(flow, (first.grey.shape[0], first.grey.shape[1]))
            visible = inside(flow) & collision_free(flow)
            flow = flow.nan_to_num()
        else:
            flow = estimate_flow(first.grey, second.grey)
            visible = forward_backward_visible(flow, estimate_flow(second.grey, first.grey))
        for name, task in self.tasks.items():
            device = second.maps[name].device
            there = visible.to(device)
            moved = follow(second.maps[name], flow.to(device))
            self.add((None, name), task.measure_change(first.maps[name][:, there], moved[:, there]))

    def _watch(self, sample: Mapping[str, Any]) -> None:
        """Add the windows that end with this frame."""
        for name, task in self.tasks.items():
            if not task.consistency_windows:
                continue
            if (label := sample['gt'].get(name)) is None:
                self._runs.pop(name, None)
                continue
            run = self._runs[name] = extend_run(self._runs.get(name), label[0], sample['pred'][name][0])
            for length in task.consistency_windows:
                stays = run.label_age >= length
                if stays.any():
                    share = (stays & (run.prediction_age >= length)).sum().double() / stays.sum()
                    self.add((length, name), torch.stack([share, torch.ones_like(share)]).cpu())


def extend_run(run: _Run | None, label: Tensor, prediction: Tensor) -> _Run:
    """A run with one frame more: a pixel's age is 1 where it changed, and 0 where the label is to be ignored."""
    if run is None:
        ages = [torch.ones_like(label)] * 2
    else:
        pairs = ((label, run.label, run.label_age), (prediction, run.prediction, run.prediction_age))
        ages = [torch.where(new == old, age + 1, 1) for new, old, age in pairs]
    return _Run(label, prediction, ages[0].masked_fill(label == IGNORE, 0), ages[1])


def resize_nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (M, H, W) of any type at another size, no value changed."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps[None].double(), size, mode='nearest-exact')[0].to(maps.dtype)
