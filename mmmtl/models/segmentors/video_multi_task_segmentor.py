"""The video model: a slow network on key frames, a fast one on the others, and a neck that carries features between."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from mmmtl.models.backbones import as_maps
from mmmtl.models.decode_heads import HeadOutput
from mmmtl.models.flow import FlowEstimator
from mmmtl.models.losses import AlignLosses
from mmmtl.models.necks import PropagatingNeck
from mmmtl.registry import MODELS
from mmmtl.structures import FrameResult, Logits, Memory, StreamState
from mmmtl.structures.rows import join_rows, mask_slots, replace_rows, select, select_rows, spread_rows, true_rows

from .build import build_fast_backbone, build_reader
from .clips import CURRENT, LAST_KEY, LAST_NON_KEY, check_clips, encode_both, frozen_statistics
from .finite import check_finite
from .frame_kinds import (
    KEY,
    NON_KEY,
    ClipOutput,
    Core,
    FrameOutput,
    FramePlan,
    Memories,
    ReadMemories,
    group_rows,
    plan_rows,
)
from .key_frame_policy import KeyFramePolicy, checked_choice, checked_memory
from .multi_task_segmentor import MultiTaskSegmentor, Samples


@MODELS.register_module()
class VideoMultiTaskSegmentor(MultiTaskSegmentor):
    """MILA: `backbone` is the slow network, `fast_backbone` runs on non-key frames, and `neck` propagates.

    Training and testing use clips (N, 3, 3, H, W) of the last key frame, the last non-key frame and the current frame.
    In the metainfo, `offset` 0 says that the current frame is itself the key frame. On a video,
    `step` gives the same predictions frame by frame, from a state that the caller keeps. Until a video has had a
    non-key frame, the current frame stands for it, in clips too.

    Args:
        backbone: the slow network; only its last map (N, C, h, w) is used.
        fast_backbone: the fast network, with the same C and stride; an `AlignedBackbone` gets C by default.
        neck: a `PropagatingNeck`; gets `tasks`.
        align_loss: returns the `AlignLosses` of slow and fast features of the current frame; `detach_slow` stops the
            gradient of the slow ones.

    Reference: MILA, section 3.
    """

    neck: PropagatingNeck

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        fast_backbone: dict[str, Any],
        neck: dict[str, Any],
        decode_head: dict[str, Any],
        key_frame_policy: dict[str, Any],
        align_loss: dict[str, Any] | None = None,
        tasks: Mapping[str, Any] | None = None,
        weighting: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks=tasks,
            backbone=backbone,
            neck=neck,
            decode_head=decode_head,
            weighting=weighting,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if not isinstance(self.neck, PropagatingNeck):
            raise ValueError(
                f'model.neck of a video model must be a PropagatingNeck, such as ILANeck, not {neck["type"]}'
            )
        for module in self.neck.modules():
            if isinstance(module, FlowEstimator):
                module.normalisation = self.data_preprocessor.normalisation
        self.fast_backbone = build_fast_backbone(fast_backbone, self.backbone)
        self.align_loss = None if align_loss is None else build_reader(align_loss, self.backbone)
        self.key_frame_policy: KeyFramePolicy = MODELS.build(key_frame_policy)
        if not isinstance(self.key_frame_policy, KeyFramePolicy):
            raise ValueError(f'key_frame_policy: {type(self.key_frame_policy).__name__} is not a KeyFramePolicy')

    def logits(self, inputs: Tensor, data_samples: Samples | None = None) -> Logits:
        """Return {task: logits of the current frames} of clips (N, 3, 3, H, W)."""
        return self._clips(inputs, data_samples or []).logits

    def loss(self, inputs: Tensor, data_samples: Samples) -> dict[str, Tensor]:
        """Return the task losses, and `align.<name>` of the current frames that are not key frames."""
        losses, aligned = self._losses(inputs, data_samples)
        return losses | aligned.named('align.')

    def train_step(self, data: Any, optim_wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, Tensor]:
        """Run mmengine's step; with two optimisers, update the model and the discriminator separately."""
        if not isinstance(optim_wrapper, OptimWrapperDict):
            log_vars: dict[str, Tensor] = super().train_step(data, optim_wrapper)
            return log_vars
        with optim_wrapper['model'].optim_context(self):
            data = self.data_preprocessor(data, True)
            losses, aligned = self._losses(data['inputs'], data['data_samples'])
            check_finite(losses | aligned.named('align.'), data['data_samples'], self)
        assert aligned.discriminator is not None
        total, log_vars = self.parse_losses(losses | aligned._replace(discriminator=None).named('align.'))
        optim_wrapper['model'].update_params(total)
        optim_wrapper['discriminator'].update_params(aligned.discriminator)
        if aligned.accuracy is None:  # only key frames, in all processes
            return log_vars
        return {**log_vars, 'align.loss_discriminator': aligned.discriminator.detach()}

    def step(self, frames: Tensor, state: StreamState | None = None) -> FrameResult:
        """Predict one frame of each stream; the state holds its last key and last non-key frame."""
        state = StreamState.before(frames, state)
        if state.unchecked:
            state = state.check(self._memory_like(frames), self._policy_memory_like(frames))
        is_key = checked_choice(self.key_frame_policy, state, frames) | ~state.has_key
        # Before the networks launch: a policy that reads pixels would otherwise wait for them.
        policy = checked_memory(self.key_frame_policy, state, frames, is_key)
        plans = plan_rows(self.neck, is_key.tolist(), state.has_non_key.tolist())
        memories, groups = Memories(state.key, state.non_key), group_rows(plans)
        parts = [
            self.core.frames(select(frames, rows), *memories.read_by(plan, rows), is_key=plan.is_key)
            for plan, rows in groups.items()
        ]
        logits = join_rows([part.logits for part in parts], list(groups.values()))
        current = join_rows([part.memory for part in parts], list(groups.values()))
        after = StreamState(
            has_key=state.has_key | is_key,
            has_non_key=state.has_non_key | ~is_key,
            frames=state.frames + 1,
            key_frames=state.key_frames + is_key,
            key=replace_rows(state.key, current, is_key),
            non_key=replace_rows(state.non_key, current, ~is_key),
            policy=policy,
            resolution=(frames.shape[-2], frames.shape[-1]),
        )
        return FrameResult(logits, is_key, after)

    @property
    def core(self) -> Core:
        return self.optimized or Core(self.frame_logits, self.clip_logits)

    def frame_logits(
        self, frames: Tensor, key: Memory | None = None, non_key: Memory | None = None, *, is_key: bool = True
    ) -> FrameOutput:
        """Compute frames (N, 3, H, W) of one kind.

        `key` and `non_key` are the memories of their last key and non-key frames; None if they are not read. Without a
        `non_key` that is read, the frames' own is read.
        """
        current = self.neck.remember(self._slow(frames) if is_key else self._fast(frames), frames)
        if non_key is None and self.neck.reads_non_key(is_key):
            non_key = self.neck.remember(self._fast(frames), frames) if is_key else current
        return FrameOutput(self.decode_head(self.neck(current, key, non_key)).logits, current)

    def clip_logits(self, clips: Tensor, samples: Samples) -> ClipOutput:
        """Compute the current frames of clips (N, 3, 3, H, W)."""
        check_clips(clips, samples)
        plans = plan_rows(self.neck, [sample.offset == 0 for sample in samples], [True] * len(samples))
        keys, non_keys = true_rows(p.is_key for p in plans), true_rows(not p.is_key for p in plans)
        with_key, with_non_key = true_rows(p.reads_key for p in plans), true_rows(p.reads_non_key for p in plans)
        slow, fast = encode_both(
            self._slow,
            self._fast,
            torch.cat([clips[keys, CURRENT], clips[with_key, LAST_KEY]]),
            torch.cat([clips[non_keys, CURRENT], clips[with_non_key, LAST_NON_KEY]]),
        )
        current_slow, current_fast = slow[: len(keys)], fast[: len(non_keys)]

        order = torch.tensor(keys + non_keys, device=clips.device).argsort()
        current = self.neck.remember(torch.cat([current_slow, current_fast])[order], clips[:, CURRENT])
        key = self.neck.remember(slow[len(keys) :], clips[with_key, LAST_KEY])
        non_key = self.neck.remember(fast[len(non_keys) :], clips[with_non_key, LAST_NON_KEY])
        memories = Memories(spread_rows(key, with_key, len(clips)), spread_rows(non_key, with_non_key, len(clips)))
        decode = self._decode_batch if self.training else self._decode_rows
        return ClipOutput(decode(current, memories, plans), current_fast)

    @property
    def has_key_frames(self) -> bool:
        return True

    @property
    def frame_kinds(self) -> tuple[str, ...]:
        return (KEY,) if self.key_frame_interval == 1 else (KEY, NON_KEY)

    @property
    def key_frame_interval(self) -> int | None:
        return self.key_frame_policy.interval

    @property
    def resting_networks(self) -> dict[str, str]:
        resting = {} if self.neck.reads_key(False) else {'backbone': 'no key frame'}
        return resting if self.neck.reads_non_key(True) else {**resting, 'fast_backbone': 'only key frames'}

    def steady_memories(self, images: Tensor) -> dict[str, ReadMemories]:
        """Return what each kind of frame reads; runs the frames at the beginning of a stream for it."""
        if NON_KEY not in self.frame_kinds:
            return {KEY: (None, None)}
        reads_key, reads_non_key = self.neck.reads_key, self.neck.reads_non_key
        key = self.core.frames(images, None, None, is_key=True).memory
        non_key = self.core.frames(images, key if reads_key(False) else None, None, is_key=False).memory
        return {
            kind: (key if reads_key(kind == KEY) else None, non_key if reads_non_key(kind == KEY) else None)
            for kind in self.frame_kinds
        }

    def _memory_like(self, frames: Tensor) -> Memory:
        """Return the shapes and types of what the neck remembers of frames, as tensors on the meta device."""
        parts = self.backbone, self.neck
        # A copy, as other threads may use the model. Its weights are taken from the memo, so none is copied.
        tensors = chain.from_iterable(chain(part.parameters(), part.buffers()) for part in parts)
        backbone, neck = copy.deepcopy(parts, {id(tensor): tensor.to('meta') for tensor in tensors})
        frames = frames.to('meta', next(backbone.parameters()).dtype)
        memory: Memory = neck.remember(as_maps(backbone(frames))[-1], frames)
        return memory

    def _policy_memory_like(self, frames: Tensor) -> Memory:
        first = torch.ones(len(frames), dtype=torch.bool)
        return self.key_frame_policy.remember(StreamState.new(len(frames)), frames, first)

    def _losses(self, clips: Tensor, samples: Samples) -> tuple[dict[str, Tensor], AlignLosses]:
        """Return the losses of the tasks, and those of the alignment."""
        output, fast_features = self._clips(clips, samples)
        losses = self.head_losses(output, samples)
        if self.align_loss is None:
            return losses, AlignLosses()
        rows = [row for row, sample in enumerate(samples) if sample.offset]
        slow_features = self._slow_to_align(clips[rows, CURRENT]) if rows else fast_features
        return losses, self.align_loss(slow_features, fast_features)

    def _clips(self, clips: Tensor, samples: Samples) -> ClipOutput:
        assert self.core.clips is not None
        return self.core.clips(clips, samples)

    def _decode_batch(self, current: Memory, memories: Memories, plans: Sequence[FramePlan]) -> HeadOutput:
        """Decode all rows at once, with zeros for missing slots, as batch norm in training needs."""
        slots = self.neck(current, *memories)
        flags = (None, [plan.reads_key for plan in plans], [plan.reads_non_key for plan in plans])
        slots = {task: mask_slots(maps, flags[: self.neck.num_slots]) for task, maps in slots.items()}
        output: HeadOutput = self.decode_head(slots)
        return output

    def _decode_rows(self, current: Memory, memories: Memories, plans: Sequence[FramePlan]) -> HeadOutput:
        """Decode rows with one plan together, without the slots that they lack: same numbers, less work."""
        groups = group_rows(plans)
        parts = [
            self.decode_head(self.neck(select_rows(current, rows), *memories.read_by(plan, rows))).logits
            for plan, rows in groups.items()
        ]
        return HeadOutput(join_rows(parts, list(groups.values())))

    def _slow(self, frames: Tensor) -> Tensor:
        return as_maps(self.backbone(frames))[-1]

    def _fast(self, frames: Tensor) -> Tensor:
        return as_maps(self.fast_backbone(frames))[-1]

    def _slow_to_align(self, frames: Tensor) -> Tensor:
        """Return slow features of non-key frames, without changing the running statistics."""
        assert self.align_loss is not None
        gradient = torch.is_grad_enabled() and not self.align_loss.detach_slow
        with torch.set_grad_enabled(gradient), frozen_statistics(self.backbone):
            return self._slow(frames)
