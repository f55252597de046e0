"""Temporal metrics: warping errors of all tasks, and the consistency of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.datasets.samplers import is_next_frame
from mmmtl.io.images import LUMA
from mmmtl.registry import METRICS
from mmmtl.tasks.base import IGNORE

from .additive_metric import AdditiveMetric
from .motion import collision_free, estimate_flow, follow, forward_backward_visible, inside, resize_exact_flow


class _Frame(NamedTuple):
    """The previous frame."""

    place: dict[str, Any]
    grey: Tensor
    maps: dict[str, Tensor]


class _Run(NamedTuple):
    """Label and prediction (H, W) of the previous frame, and for how many frames each pixel has had them."""

    label: Tensor
    prediction: Tensor
    label_age: Tensor
    prediction_age: Tensor


@METRICS.register_module()
class TemporalConsistency(AdditiveMetric):
    """Temporal metrics of all tasks over whole videos, as `temporal/<task>/<metric>`; needs `StreamTestLoop`.

    `Task.measure_change` compares each prediction with that of the next frame, warped back along the motion between the
    two frames at the input size of the model. Pixels that are not visible in the next frame do not count. The motion
    comes from the data set if it has one, and is estimated otherwise (`mmmtl.evaluation.motion`).

    - `warp_err`: the mean difference, for depth in metres, for normals in degrees; `warp_rel_err` of depth.
    - `TC` of classes: the mIoU of the two, as in ETC, but from one confusion matrix of all pairs instead of the mean
      over clips.
    - `VC<n>` of classes: among the pixels whose label stays the same in a window of n frames, the share whose
      prediction stays the same, right or wrong; the mean over all windows. It needs labels in every frame and leaves
      out ignored pixels. VSPW defines VC8 and VC16 like this, but its released code skips the last window of a video
      and counts pixels that stay unlabelled.

    Args:
        exact_flow: use the data set's motion if it has one; False always estimates it.

    Reference: Liu et al., Efficient Semantic Video Segmentation with Per-frame Inference, ECCV 2020 (TC); Miao et al.,
    VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild, CVPR 2021 (VC).
    """

    def __init__(self, *, exact_flow: bool = True) -> None:
        super().__init__()
        self.exact_flow = exact_flow
        self._before: _Frame | None = None
        self._runs: dict[str, _Run] = {}

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Compare each frame with the previous one."""
        for image, sample in zip(data_batch['inputs'], data_samples, strict=True):
            if image.dim() != 3 or 'video' not in sample or 'offset' in sample:
                raise ValueError(
                    'TemporalConsistency needs the frames of whole videos in order: tools/test.py --stream, or '
                    "test_cfg=dict(type='StreamTestLoop')"
                )
            size = (image.shape[-2], image.shape[-1])
            blue, green, red = image.float()
            grey = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).round().to(torch.uint8)
            maps = {name: resize_nearest(sample['pred'][name], size) for name in self.tasks}
            before, self._before = self._before, _Frame({k: sample[k] for k in ('video', 'time')}, grey, maps)
            if before is None or not is_next_frame(before.place, sample):
                self._runs.clear()
            else:
                self._compare(before, self._before, sample.get('flow'))
            self._watch(sample)

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the metrics of everything that all processes have processed."""
        totals, self._before = self.take_totals(), None
        self._runs.clear()
        if not totals:
            raise ValueError('nothing to compare: no video has two consecutive frames')
        metrics = {}
        for name, task in self.tasks.items():
            scores = task.summarize_change(totals[None, name])
            for length in task.consistency_windows:
                if (total := totals.get((length, name))) is not None:
                    scores[f'VC{length}'] = 100 * float(total[0] / total[1])
            metrics.update({f'temporal/{name}/{metric}': value for metric, value in scores.items()})
        return metrics

    def _compare(self, first: _Frame, second: _Frame, flow: Tensor | None) -> None:
        """Add the change of every task from one frame to the next."""
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
        """Add the consistency windows that end with this frame."""
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
    """Extend a run by a frame: the age of a pixel is 1 where it changed, and 0 where its label is ignored."""
    if run is None:
        ages = [torch.ones_like(label)] * 2
    else:
        pairs = ((label, run.label, run.label_age), (prediction, run.prediction, run.prediction_age))
        ages = [torch.where(new == old, age + 1, 1) for new, old, age in pairs]
    return _Run(label, prediction, ages[0].masked_fill(label == IGNORE, 0), ages[1])


def resize_nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps (M, H, W) of any type by the nearest pixel."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps[None].double(), size, mode='nearest-exact')[0].to(maps.dtype)
