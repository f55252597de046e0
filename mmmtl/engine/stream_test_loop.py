"""A test loop over whole videos, frame by frame, as on a live stream."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from mmengine.runner.amp import autocast
from torch import Tensor
from torch.utils.data import DataLoader

from mmmtl.config import dataset_configs
from mmmtl.datasets.samplers import is_next_frame
from mmmtl.evaluation import merge_totals
from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.segmentors.frame_kinds import IMAGE, KEY, frame_kind
from mmmtl.registry import LOOPS
from mmmtl.structures import MultiTaskDataSample, StreamState

from .unwrap import unwrap


@LOOPS.register_module()
class StreamTestLoop(TestLoop):
    """A loop over whole videos: `test_cfg=dict(type='StreamTestLoop')`, or `tools/test.py --stream`.

    Each frame goes once, in order, through the model's `step`. Each video starts with a new state; so does the frame
    after a gap. An image model sees each frame on its own. Metrics get every frame: `MultiTaskMetric` scores
    the labelled ones, `TemporalConsistency` compares neighbours.

    The rest of the config stays the same. The loop makes the data sets of `test_dataloader` yield whole videos
    (`whole_videos`), shared out to processes (`VideoSampler`); `batch_size` is how many frames are loaded at a time.

    The metrics gain `stream/frames` and, for a video model, `stream/key_frame_ratio`.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader[Any] | dict[str, Any],
        evaluator: Evaluator | dict[str, Any] | list[Any],
        fp16: bool = False,
    ) -> None:
        if not isinstance(evaluator, Evaluator):
            evaluator = runner.build_evaluator(evaluator)
        if not isinstance(dataloader, DataLoader):
            exact_flow = any(getattr(metric, 'exact_flow', False) for metric in evaluator.metrics)
            dataloader = whole_video_loader(dataloader, exact_flow=exact_flow)
        super().__init__(runner, dataloader, evaluator, fp16)
        self.frames: Counter[tuple[int, int, str]] = Counter()
        """Number of frames of each (height, width, kind), as the model saw them."""
        self._state: StreamState | None = None
        self._last: MultiTaskDataSample | None = None

    def run(self) -> dict[str, float]:
        """Run the model over all videos and return the metrics."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        self.frames.clear()
        self._state = self._last = None
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        self.frames = Counter(merge_totals(self.frames))
        metrics: dict[str, float] = self.evaluator.evaluate(len(self.dataloader.dataset))
        metrics['stream/frames'] = total = self.frames.total()
        if self.model.has_key_frames:
            metrics['stream/key_frame_ratio'] = sum(n for (*_, kind), n in self.frames.items() if kind == KEY) / total
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    @property
    def model(self) -> MultiTaskSegmentor:
        """The model without its wrappers."""
        return cast(MultiTaskSegmentor, unwrap(self.runner.model))

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Mapping[str, Sequence[Any]]) -> None:
        """Predict the next frames, one after another."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            outputs = [
                self._step(*frame) for frame in zip(data_batch['inputs'], data_batch['data_samples'], strict=True)
            ]
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook('after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def _step(self, image: Tensor, sample: MultiTaskDataSample) -> MultiTaskDataSample:
        """Predict a frame (3, H, W) and return its sample with the maps."""
        model = self.model
        if self._last is None or not is_next_frame(self._last.metainfo, sample.metainfo):
            self._state = None
        self._last = sample
        # One by one: a batch would be padded to its largest frame, perhaps of another video.
        data = model.data_preprocessor({'inputs': [image], 'data_samples': [sample]}, False)
        frames, samples = data['inputs'], data['data_samples']
        size = (frames.shape[-2], frames.shape[-1])
        logits, is_key, self._state = model.step(frames, self._state)
        kind = frame_kind(model, bool(is_key))
        if kind != IMAGE:
            samples[0].set_metainfo({'is_key_frame': kind == KEY})
        self.frames[size + (kind,)] += 1
        return model.complete(logits, size, samples)[0]


def whole_video_loader(loader: Mapping[str, Any], *, exact_flow: bool) -> ConfigDict:
    """Return the config of a test loader, changed to yield whole videos frame by frame."""
    changed = ConfigDict(copy.deepcopy(loader))
    for dataset in dataset_configs(changed.dataset):
        dataset.update(whole_videos=True, exact_flow=exact_flow)
    changed.sampler = ConfigDict(type='VideoSampler')
    return changed
