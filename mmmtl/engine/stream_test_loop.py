"""The test of a model on whole videos, frame by frame, as it runs on a live stream."""

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
from mmmtl.models.segmentors.frame_kinds import KEY
from mmmtl.registry import LOOPS
from mmmtl.structures import MultiTaskDataSample, StreamState

from .unwrap import unwrap


@LOOPS.register_module()
class StreamTestLoop(TestLoop):
    """Runs a model over whole videos: `test_cfg=dict(type='StreamTestLoop')`, or `tools/test.py --stream`.

    The frames of a video come in order and each once, through the model's `step` with a new state for every video; a
    gap in the numbers of the frames begins a new one. An image model sees each frame on its own. Metrics are given
    every frame: `MultiTaskMetric` scores those that are labelled, `TemporalConsistency` compares neighbours.

    Nothing else in a config changes: the data sets of `test_dataloader` give whole videos (`whole_videos`), which are
    shared out to processes (`VideoSampler`), and `batch_size` is how many frames are loaded at a time.

    Adds to the metrics `stream/frames` and, for a video model, `stream/key_frame_ratio`.

    Args:
        runner: of the test.
        dataloader: config, or a loader of whole videos.
        evaluator: config, or an evaluator.
        fp16: run the model with automatic mixed precision.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict[str, Any],
        evaluator: Evaluator | dict[str, Any] | list[Any],
        fp16: bool = False,
    ) -> None:
        if not isinstance(evaluator, Evaluator):
            evaluator = runner.build_evaluator(evaluator)
        if not isinstance(dataloader, DataLoader):
            exact_flow = any(getattr(metric, 'exact_flow', False) for metric in evaluator.metrics)
            dataloader = whole_video_loader(dataloader, exact_flow=exact_flow)
        super().__init__(runner, dataloader, evaluator, fp16)
        self.frames: Counter[tuple[int, int, bool]] = Counter()
        """How many frames there were of each (height, width) as the model saw it, and whether they were key frames."""
        self._state: StreamState | None = None
        self._last: MultiTaskDataSample | None = None

    def run(self) -> dict[str, float]:
        """The metrics of all videos."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        self.frames.clear()
        self._state = self._last = None
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        self.frames = Counter(merge_totals(self.frames))
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        metrics['stream/frames'] = total = self.frames.total()
        if KEY in self.model.frame_kinds:
            metrics['stream/key_frame_ratio'] = sum(n for key, n in self.frames.items() if key[2]) / total
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    @property
    def model(self) -> MultiTaskSegmentor:
        """The model itself, out of its wrappers."""
        return cast(MultiTaskSegmentor, unwrap(self.runner.model))

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Mapping[str, Sequence[Any]]) -> None:
        """The next frames, one after another."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            outputs = [
                self._step(*frame) for frame in zip(data_batch['inputs'], data_batch['data_samples'], strict=True)
            ]
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook('after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def _step(self, picture: Tensor, sample: MultiTaskDataSample) -> MultiTaskDataSample:
        """The sample of a frame (3, H, W) with its predictions."""
        model = self.model
        if self._last is None or not is_next_frame(self._last.metainfo, sample.metainfo):
            self._state = None
        self._last = sample
        # One by one: in a batch, frames would be padded to the largest, which belongs to another video.
        data = model.data_preprocessor({'inputs': [picture], 'data_samples': [sample]}, False)
        frames, samples = data['inputs'], data['data_samples']
        size = (frames.shape[-2], frames.shape[-1])
        logits, is_key, self._state = model.step(frames, self._state)
        if KEY in model.frame_kinds:
            samples[0].set_metainfo({'is_key_frame': bool(is_key)})
        self.frames[size + (bool(is_key),)] += 1
        return model.complete(logits, size, samples)[0]


def whole_video_loader(loader: Mapping[str, Any], *, exact_flow: bool) -> ConfigDict:
    """The config of a loader of test data, changed so that it gives whole videos frame by frame."""
    changed = ConfigDict(copy.deepcopy(loader))
    for dataset in dataset_configs(changed.dataset):
        dataset.update(whole_videos=True, exact_flow=exact_flow)
    changed.sampler = ConfigDict(type='VideoSampler')
    return changed
