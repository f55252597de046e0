"""The image model: one image in, a map for every task out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor

from mmmtl.models.backbones import as_maps
from mmmtl.models.decode_heads import DecodeHead, HeadOutput
from mmmtl.models.necks import PropagatingNeck
from mmmtl.models.weighting import Weighting
from mmmtl.ops.precision import at_least_float32
from mmmtl.registry import MODELS, refuses_argument
from mmmtl.structures import FrameResult, Logits, Memory, MultiTaskDataSample, StreamState
from mmmtl.tasks import Task, build_tasks, main_tasks
from mmmtl.tasks.order import in_order

from .build import build_neck, build_reader, check_preliminary
from .finite import check_finite, check_logits, check_total
from .frame_kinds import IMAGE, Core, FrameOutput, ReadMemories
from .supervision import (
    check_channels,
    check_map,
    check_output,
    check_rows,
    join_losses,
    stack_targets,
    weigh,
    without_unlabelled,
)

Samples = Sequence[MultiTaskDataSample]
Size = Sequence[int]


@MODELS.register_module()
class MultiTaskSegmentor(BaseModel):
    """Backbone, neck and decode head for any set of tasks.

    Each task defines its output channels, losses and decoding; `HeadOutput` holds everything else that is supervised.
    Backbone, neck and head get the tasks sorted by name, so that weights and results do not depend on the order in a
    config. Losses and predictions keep the order of the config.

    Args:
        tasks: configs of the tasks, put there by `resolve`.
        backbone: images (N, 3, H, W) to a tuple of maps.
        decode_head: a `DecodeHead`; gets `tasks`, `num_slots` of a `PropagatingNeck`, and by default `in_channels`.
        neck: maps to maps, or to {task: maps}; gets `tasks`, and by default `in_channels`.
        task_backbone: a `TaskBackbone`, which is built around the backbone and returns {task: maps}.
        data_preprocessor: a `MultiTaskDataPreprocessor`; gets `tasks`.
        preliminary_weight: factor of the losses of preliminary predictions, at least 0.
        weighting: a `Weighting` of the losses; gets the names of the tasks. None adds up all losses.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Any] | None = None,
        backbone: dict[str, Any],
        decode_head: dict[str, Any],
        neck: dict[str, Any] | None = None,
        task_backbone: dict[str, Any] | None = None,
        preliminary_weight: float = 1.0,
        weighting: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        tasks = build_tasks(tasks, f'model {type(self).__name__}')
        preprocessor = {'type': 'MultiTaskDataPreprocessor', **(data_preprocessor or {}), 'tasks': tasks}
        if refuses_argument(preprocessor, 'tasks'):
            raise ValueError(
                f'model.data_preprocessor must be a MultiTaskDataPreprocessor, not {preprocessor["type"]}; remove '
                '`type`, and what it does not take: it has `mean` and `std` (RGB) and `size_divisor`'
            )
        # Built here, since mmengine would search the default scope, which may not be ours.
        super().__init__(MODELS.build(preprocessor), init_cfg)
        self.tasks = tasks
        ordered = in_order(tasks)
        if task_backbone is not None:
            if neck is not None:
                raise ValueError(
                    f'model.neck ({neck["type"]}) reads maps that all tasks share, but with model.task_backbone '
                    f'({task_backbone["type"]}) each task has its own; leave one of the two out'
                )
            backbone = {**task_backbone, 'backbone': backbone, 'tasks': ordered}
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else build_neck(neck, self.backbone, ordered)
        slots = {'num_slots': self.neck.num_slots} if isinstance(self.neck, PropagatingNeck) else {}
        source = [self.backbone] if self.neck is None else [self.backbone, self.neck]
        self.decode_head: DecodeHead = build_reader(decode_head, *source, **slots, tasks=ordered)
        if not isinstance(self.decode_head, DecodeHead):
            raise ValueError(f'model.decode_head must be a DecodeHead, not a {type(self.decode_head).__name__}')
        check_preliminary(self.decode_head, tasks, preliminary_weight)
        self.preliminary_weight = preliminary_weight
        self.main_tasks = main_tasks(tasks)
        """The tasks with final predictions; the others are auxiliary."""
        self.weighting: Weighting | None = None
        if weighting is not None:
            self.weighting = MODELS.build({**weighting, 'tasks': list(ordered)})
            if not isinstance(self.weighting, Weighting):
                raise ValueError(f'model.weighting must be a Weighting, not a {type(self.weighting).__name__}')
        self.optimized: Core | None = None
        """A faster core, set by `mmmtl.apis.optimize_for_inference`."""

    def forward(self, inputs: Tensor, data_samples: Samples | None = None, mode: str = 'tensor') -> Any:
        """Run one of mmengine's three modes on inputs from the data preprocessor.

        'tensor' returns {task: logits}, the core that is profiled and exported; 'loss' the losses by name; 'predict'
        the samples with `pred`.

        Raises:
            FloatingPointError: a loss is not finite; training stops before it changes the weights.
        """
        if mode == 'tensor':
            return self.logits(inputs, data_samples)
        if mode not in ('loss', 'predict'):
            raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', not {mode!r}")
        if not data_samples:
            raise ValueError(f'mode {mode!r} needs the data_samples of the batch')
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        losses = self.loss(inputs, data_samples)
        check_finite(losses, data_samples, self)
        return losses if self.weighting is None else self.weighting.tie(losses)

    def logits(self, inputs: Tensor, data_samples: Samples | None = None) -> Logits:
        """Return {task: logits at feature resolution}."""
        return self.core.frames(inputs).logits

    def step(self, frames: Tensor, state: StreamState | None = None) -> FrameResult:
        """Predict one frame (N, 3, H, W) of each of N streams; `state` is None at the beginning.

        The frames come from the data preprocessor; their number and resolution must be those of the state. The state of
        an image model only counts frames.
        """
        state = StreamState.before(frames, state)
        if state.unchecked:
            state = state.check({}, {})
        logits = self.core.frames(frames).logits
        return FrameResult(logits, torch.zeros_like(state.has_key), replace(state, frames=state.frames + 1))

    @property
    def core(self) -> Core:
        """The tensor-only core, which is compiled, exported and profiled."""
        return self.optimized or Core(self.frame_logits)

    def frame_logits(
        self, frames: Tensor, key: Memory | None = None, non_key: Memory | None = None, *, is_key: bool = True
    ) -> FrameOutput:
        """Compute frames of one kind; an image model has only one and reads no memory."""
        return FrameOutput(self.decode_head(self.features(frames)).logits, {})

    @property
    def has_key_frames(self) -> bool:
        """Return whether this is a video model, with key frames and others."""
        return False

    @property
    def frame_kinds(self) -> tuple[str, ...]:
        """The kinds of frames in a stream: 'image', or 'key' and, if not all are key frames, 'non_key'."""
        return (IMAGE,)

    @property
    def key_frame_interval(self) -> int | None:
        """The number of frames from one key frame to the next; None if it is not fixed."""
        return None

    @property
    def resting_networks(self) -> dict[str, str]:
        """Return {name of a network: what a batch holds that does not run it in training}."""
        return {}

    def steady_memories(self, images: Tensor) -> dict[str, ReadMemories]:
        """Return what each kind of frame reads in the steady state, after frames that were all `images`."""
        return {IMAGE: (None, None)}

    def features(self, inputs: Tensor) -> Any:
        """Return the input of the head: maps, or {task: maps}."""
        output = self.backbone(inputs)
        maps = output if isinstance(output, Mapping) else as_maps(output)
        return maps if self.neck is None else self.neck(maps)

    def test_step(self, data: Mapping[str, Sequence[Any]]) -> list[MultiTaskDataSample]:
        """Predict a batch from the data loader.

        Images of each padded size run on their own: with more padding they would be predicted differently.
        """
        groups: dict[Size, list[int]] = defaultdict(list)
        for row, image in enumerate(data['inputs']):
            groups[self.data_preprocessor.padded_size(image.shape[-2:])].append(row)
        samples: dict[int, MultiTaskDataSample] = {}
        for rows in groups.values():
            part = {key: [values[row] for row in rows] for key, values in data.items()}
            samples |= zip(rows, super().test_step(part), strict=True)
        return [samples[row] for row in range(len(samples))]

    def val_step(self, data: Mapping[str, Sequence[Any]]) -> list[MultiTaskDataSample]:
        return self.test_step(data)

    def loss(self, inputs: Tensor, data_samples: Samples) -> dict[str, Tensor]:
        return self.head_losses(self.decode_head(self.features(inputs)), data_samples)

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to minimise, and for the log it and the losses of what has labels in the step."""
        total, logged = super().parse_losses(losses)
        if self.weighting is not None:
            weighed = {name: value for name, value in logged.items() if 'loss' in name and name != 'loss'}
            total = self.weighting(weighed, self.parameters())
            check_total(total, self.weighting)
            logged['loss'] = total.detach()
        return total, {'loss': logged.pop('loss'), **without_unlabelled(logged, self.tasks)}

    def predict(self, inputs: Tensor, data_samples: Samples) -> list[MultiTaskDataSample]:
        return self.complete(self.logits(inputs, data_samples), inputs.shape[-2:], data_samples)

    def complete(self, logits: Logits, padded: Size, data_samples: Samples) -> list[MultiTaskDataSample]:
        """Set `pred` of the samples, each map at the size of its label or else of the original image.

        The logits are {task: (N, C, h, w)}; `padded` is the (H, W) that the model saw, padding included. Where labels
        are loaded, an unlabelled frame has the size of the labelled ones. The samples of MPS are returned on the CPU:
        metrics need float64, which MPS lacks.
        """
        shown = [sample.img_shape for sample in data_samples]
        wanted = [
            ('gt' in sample and sample.gt.shape) or sample.get('map_shape', sample.ori_shape) for sample in data_samples
        ]
        images = [sample.get('img_path', '?') for sample in data_samples]
        for sample, maps in zip(data_samples, self.decode(logits, padded, shown, wanted, images), strict=True):
            sample.pred = maps
        on_mps = next(iter(logits.values())).device.type == 'mps'
        return [sample.cpu() for sample in data_samples] if on_mps else list(data_samples)

    def decode(
        self,
        logits: Logits,
        padded: Size,
        shown: Sequence[Size] | None = None,
        wanted: Sequence[Size] | None = None,
        images: Sequence[str] | None = None,
    ) -> list[PixelData]:
        """Return the maps of each row of logits {task: (N, C, h, w)}; all sizes are (H, W).

        `padded` is the size that the model saw, `shown` that of each row without padding (by default `padded`), and
        `wanted` that of each row's maps (by default `shown`). `images` names the rows in messages.

        Raises:
            FloatingPointError: logits of a task are not finite.
        """
        shown = shown or [padded] * len(next(iter(logits.values())))
        check_rows(type(self.decode_head).__name__, logits, len(shown))
        images = images or [f'row {row}' for row in range(len(shown))]
        check_logits({name: logits[name] for name in self.main_tasks}, images)
        sizes = zip(shown, wanted or shown, strict=True)
        return [self._decode_row(logits, row, padded, *own) for row, own in enumerate(sizes)]

    def _decode_row(self, logits: Logits, row: int, padded: Size, shown: Size, wanted: Size) -> PixelData:
        maps = PixelData()
        for name, task in self.main_tasks.items():
            # A slice, as `[row][None]` would hide channels last from `interpolate`, which then copies its result twice.
            full = F.interpolate(logits[name][row : row + 1].float(), tuple(padded), mode='bilinear')
            full = full[..., : shown[0], : shown[1]]
            if tuple(wanted) != tuple(shown):
                full = F.interpolate(full, tuple(wanted), mode='bilinear')
            check_map(task, found := task.decode(full), tuple(wanted))
            maps.set_field(found[0], name)
        return maps

    def head_losses(self, output: HeadOutput, data_samples: Samples) -> dict[str, Tensor]:
        """Return the losses of every prediction, times the `loss_weight` of its task, and the head's other losses.

        They are `<task>.loss_<name>`; `preliminary.<i>.<task>.loss_<name>`, also times `preliminary_weight`; and
        `label_space.<task>.loss_ce`, with weight 1. A task that no sample labels contributes zeros that stay connected
        to the graph.

        Raises:
            ValueError: the head lacks a task, has other channels for it or another number of images, or names a loss
                like one of a task; or a loss is not one number, or has no graph.
        """
        head = type(self.decode_head).__name__
        check_output(head, output, self.tasks)
        losses: dict[str, Tensor] = {}
        for prefix, predictions in output.predictions().items():
            check_rows(head, predictions, len(data_samples))
            for task, logits, target in self._supervised(predictions, data_samples):
                check_channels(head, task, logits, task.out_channels)
                weight = task.loss_weight * (self.preliminary_weight if prefix else 1)
                losses |= weigh(prefix, task, task.loss(logits, target), weight, trains=logits.requires_grad)
        check_rows(head, output.label_space, len(data_samples))
        for task, logits, target in self._supervised(output.label_space, data_samples):
            check_channels(head, task, logits, task.label_space_size)
            found = task.label_space_loss(logits, target)
            losses |= {f'label_space.{task.name}.{kind}': value for kind, value in found.items()}
        return join_losses(head, losses, output.losses)

    def _supervised(self, predictions: Logits, samples: Samples) -> Iterator[tuple[Task, Tensor, Tensor]]:
        """Yield each predicted task with its logits, resized to the labels, and its labels."""
        for name, task in self.tasks.items():
            if name in predictions:
                target = stack_targets(task, samples, predictions[name].device)
                logits = predictions[name].to(at_least_float32(predictions[name]))
                yield task, F.interpolate(logits, target.shape[-2:], mode='bilinear'), target
