"""The video model: a slow network on key frames, a fast one on the others, and a neck that carries features between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from mmmtl.models.backbones import as_maps
from mmmtl.models.necks import PropagatingNeck
from mmmtl.registry import MODELS
from mmmtl.structures import Memory, StreamState
from mmmtl.structures.memory_rows import join_rows, mask_slots, replace_rows, select_rows, spread_rows, true_rows

from .build import build_fast_backbone, build_reader
from .multi_task_segmentor import MultiTaskSegmentor, Samples

LAST_KEY, LAST_NON_KEY, CURRENT = range(3)


@MODELS.register_module()
class VideoMultiTaskSegmentor(MultiTaskSegmentor):
    """MILA: `backbone` is the slow network, `fast_backbone` runs on non-key frames, `neck` propagates.

    Trained and tested on clips (N, 3, 3, H, W) of the last key frame, the last non-key frame and the current frame;
    `offset` 0 in the metainfo says that the current frame is the key frame, `valid_slots` which of the three exist.
    On a video, `stream` gives the same predictions frame by frame, from a state that the caller keeps.

    Args:
        backbone: the slow network: pictures to a tuple, its last map (N, C, h, w) is used.
        fast_backbone: the fast one, with the same C and stride; `AlignedBackbone` is given C, unless it has `channels`.
        neck: a `PropagatingNeck`; is given `tasks`.
        decode_head: see `MultiTaskSegmentor`, as `tasks` and `data_preprocessor`.
        key_frame_policy: which frames of a stream are key frames.
        align_loss: compares slow and fast features of the current frame; None leaves it out. Its `detach_slow` says
            whether the slow ones need a gradient.

    Raises:
        ValueError: built without tasks, or with a neck that cannot propagate.

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
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks=tasks,
            backbone=backbone,
            neck=neck,
            decode_head=decode_head,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if not isinstance(self.neck, PropagatingNeck):
            raise ValueError(f'model.neck of a video model must propagate, as ILANeck does; {neck["type"]} does not')
        self.fast_backbone = build_fast_backbone(fast_backbone, self.backbone)
        self.align_loss = None if align_loss is None else build_reader(align_loss, self.backbone)
        self.key_frame_policy = MODELS.build(key_frame_policy)

    def logits(self, inputs: Tensor, data_samples: Samples | None = None) -> dict[str, Tensor]:
        """{task: logits of the current frames} of clips (N, 3, 3, H, W), and preliminary predictions."""
        return self._clip(inputs, data_samples or [])[0]

    def loss(self, inputs: Tensor, data_samples: Samples) -> dict[str, Tensor]:
        """Losses of the tasks, and `align.<name>` of the current frames that are not key frames."""
        logits, fast_features = self._clip(inputs, data_samples)
        losses = self.task_losses(logits, data_samples)
        if self.align_loss is not None:
            rows = [row for row, sample in enumerate(data_samples) if sample.offset]
            slow_features = self._slow_to_align(inputs[rows, CURRENT]) if rows else fast_features
            aligned = self.align_loss(slow_features, fast_features)
            losses.update({f'align.{name}': value for name, value in aligned.items()})
        return losses

    def train_step(self, data: Any, optim_wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, Tensor]:
        """mmengine's step, or with two optimisers one of the model and one of the discriminator."""
        if not isinstance(optim_wrapper, OptimWrapperDict):
            return super().train_step(data, optim_wrapper)
        with optim_wrapper['model'].optim_context(self):
            data = self.data_preprocessor(data, True)
            losses = self._run_forward(data, mode='loss')
        told_apart = losses.pop('align.loss_discriminator')
        total, log_vars = self.parse_losses(losses)
        optim_wrapper['model'].update_params(total)
        optim_wrapper['discriminator'].update_params(told_apart)
        return {**log_vars, 'align.discriminator': told_apart.detach()}

    def stream(self, frames: Tensor, state: StreamState | None = None) -> tuple[dict[str, Tensor], StreamState]:
        """One frame of each of N streams.

        Args:
            frames: (N, 3, H, W), as the data preprocessor gives them.
            state: of the frames before; None at the beginning.

        Returns:
            {task: maps (N, M, H, W)} and the state for the next frames.

        Raises:
            ValueError: these are no frames, or their number or resolution is not that of the state.
        """
        logits, state = self.stream_logits(frames, state)
        size = frames.shape[-2:]
        rows = [self.decode({n: v[row] for n, v in logits.items()}, size, size, size) for row in range(len(frames))]
        return {name: torch.stack([maps.get(name) for maps in rows]) for name in self.tasks}, state

    def stream_logits(self, frames: Tensor, state: StreamState | None = None) -> tuple[dict[str, Tensor], StreamState]:
        """`stream` before decoding: {task: (N, C, h, w)}."""
        if frames.dim() != 4 or not len(frames):
            raise ValueError(f'frames must be (N, 3, H, W) with one of each stream, not {tuple(frames.shape)}')
        resolution = (frames.shape[-2], frames.shape[-1])
        if state is None:
            state = StreamState.new(len(frames))
        if len(state) != len(frames):
            raise ValueError(f'{len(frames)} frames for a state of {len(state)} streams')
        if state.resolution not in (None, resolution):
            raise ValueError(f'frames of {resolution} for a state of {state.resolution}; start a new state (None)')
        is_key = self.key_frame_policy.is_key_frame(state, frames) | ~state.has_key
        # Before the networks are launched, lest a policy that looks at the frames waits for them.
        policy = self.key_frame_policy.remember(state, frames, is_key)
        logits, current = self._run_kinds(frames, state, is_key.tolist())
        return logits, StreamState(
            has_key=state.has_key | is_key,
            has_non_key=state.has_non_key | ~is_key,
            frames=state.frames + 1,
            key_frames=state.key_frames + is_key,
            key=replace_rows(state.key, current, is_key),
            non_key=replace_rows(state.non_key, current, ~is_key),
            policy=policy,
            resolution=resolution,
        )

    def frame_logits(
        self, frames: Tensor, key: Memory | None, non_key: Memory | None, *, is_key: bool
    ) -> tuple[dict[str, Tensor], Memory]:
        """The tensor-only core of `stream`, for frames of one kind: what is compiled, exported and profiled.

        Args:
            frames: (N, 3, H, W).
            key: what was remembered of their last key frames; None where they do not read it, or there is none.
            non_key: the same of their last non-key frames.
            is_key: whether they are key frames.

        Returns:
            {task: logits (N, C, h, w)} and what is to be remembered of these frames.
        """
        current = self.neck.remember(self._slow(frames) if is_key else self._fast(frames), frames)
        return self.decode_head(self.neck(current, key, non_key)), current

    def _run_kinds(self, frames: Tensor, state: StreamState, is_key: Sequence[bool]) -> tuple[Memory, Memory]:
        """`frame_logits` of the rows of each kind, in the order of the rows."""
        kinds = self._kinds(is_key, state.has_key.tolist(), state.has_non_key.tolist())
        parts = [
            self.frame_logits(
                select_rows({'frames': frames}, rows)['frames'],
                select_rows(state.key, rows) if reads_key else None,
                select_rows(state.non_key, rows) if reads_non_key else None,
                is_key=kind,
            )
            for (kind, reads_key, reads_non_key), rows in kinds.items()
        ]
        logits, memories = zip(*parts, strict=True)
        return join_rows(logits, list(kinds.values())), join_rows(memories, list(kinds.values()))

    def _kinds(
        self, is_key: Sequence[bool], has_key: Sequence[bool], has_non_key: Sequence[bool]
    ) -> dict[tuple[bool, bool, bool], list[int]]:
        """{(is a key frame, reads the last key frame, reads the last non-key frame): rows}."""
        kinds = defaultdict(list)
        for row, kind in enumerate(is_key):
            reads_key = has_key[row] and self.neck.reads_key(kind)
            reads_non_key = has_non_key[row] and self.neck.reads_non_key(kind)
            kinds[kind, reads_key, reads_non_key].append(row)
        return kinds

    def _clip(self, clips: Tensor, samples: Samples) -> tuple[dict[str, Tensor], Tensor]:
        """Logits of the current frames, and the fast features of those that are not key frames."""
        check_clips(clips, samples)
        neck = self.neck
        is_key = [sample.offset == 0 for sample in samples]
        kinds = list(zip(samples, is_key, strict=True))
        has_key = [sample.valid_slots[LAST_KEY] and neck.reads_key(kind) for sample, kind in kinds]
        has_non_key = [sample.valid_slots[LAST_NON_KEY] and neck.reads_non_key(kind) for sample, kind in kinds]
        keys, non_keys = true_rows(is_key), true_rows([not k for k in is_key])
        with_key, with_non_key = true_rows(has_key), true_rows(has_non_key)
        slow, fast = self._encode_both(
            torch.cat([clips[keys, CURRENT], clips[with_key, LAST_KEY]]),
            torch.cat([clips[non_keys, CURRENT], clips[with_non_key, LAST_NON_KEY]]),
        )
        current_slow, last_key = slow[: len(keys)], slow[len(keys) :]
        current_fast, last_non_key = fast[: len(non_keys)], fast[len(non_keys) :]

        order = torch.tensor(keys + non_keys, device=clips.device).argsort()
        current = neck.remember(torch.cat([current_slow, current_fast])[order], clips[:, CURRENT])
        key = spread_rows(neck.remember(last_key, clips[with_key, LAST_KEY]), with_key, len(clips))
        non_key = spread_rows(neck.remember(last_non_key, clips[with_non_key, LAST_NON_KEY]), with_non_key, len(clips))
        decode = self._decode_batch if self.training else self._decode_rows
        return decode(current, key, non_key, is_key, has_key, has_non_key), current_fast

    def _decode_batch(
        self,
        current: Memory,
        key: Memory,
        non_key: Memory,
        is_key: Sequence[bool],
        has_key: Sequence[bool],
        has_non_key: Sequence[bool],
    ) -> dict[str, Tensor]:
        """All rows at once, missing slots as zeros: what batch norm in training needs."""
        slots = self.neck(current, key, non_key)
        flags = (None, has_key, has_non_key)[: self.neck.num_slots]
        return self.decode_head({task: mask_slots(maps, flags) for task, maps in slots.items()})

    def _decode_rows(
        self,
        current: Memory,
        key: Memory,
        non_key: Memory,
        is_key: Sequence[bool],
        has_key: Sequence[bool],
        has_non_key: Sequence[bool],
    ) -> dict[str, Tensor]:
        """Rows with the same slots together, missing slots skipped: the same numbers for less work."""
        kinds = self._kinds(is_key, has_key, has_non_key)
        parts = [
            self.decode_head(
                self.neck(
                    select_rows(current, rows),
                    select_rows(key, rows) if reads_key else None,
                    select_rows(non_key, rows) if reads_non_key else None,
                )
            )
            for (_, reads_key, reads_non_key), rows in kinds.items()
        ]
        return join_rows(parts, list(kinds.values()))

    def _encode_both(self, slow_frames: Tensor, fast_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Slow and fast features; either may have no rows, both not."""
        # Batch norm refuses an empty batch in training.
        slow = self._slow(slow_frames) if len(slow_frames) else None
        fast = self._fast(fast_frames) if len(fast_frames) else None
        if slow is None or fast is None:
            some = fast if slow is None else slow
            assert some is not None
            slow, fast = (some[:0], some) if slow is None else (some, some[:0])
        return slow, fast

    def _slow(self, frames: Tensor) -> Tensor:
        return as_maps(self.backbone(frames))[-1]

    def _fast(self, frames: Tensor) -> Tensor:
        return as_maps(self.fast_backbone(frames))[-1]

    def _slow_to_align(self, frames: Tensor) -> Tensor:
        """Slow features of frames that are not key frames; they must not count in the running statistics."""
        assert self.align_loss is not None
        gradient = torch.is_grad_enabled() and not self.align_loss.detach_slow
        with torch.set_grad_enabled(gradient), frozen_statistics(self.backbone):
            return self._slow(frames)


def check_clips(clips: Tensor, samples: Samples) -> None:
    """Refuse what is no batch of clips.

    Raises:
        ValueError: a wrong shape, or samples that do not say where their key frame is.
    """
    described = len(samples) == len(clips) and all('offset' in s and 'valid_slots' in s for s in samples)
    if clips.dim() != 5 or clips.shape[1] != 3 or not described:
        raise ValueError(
            f'a video model takes clips (N, 3, 3, H, W) and their samples with `offset` and `valid_slots`, as a data '
            f'set with clip=dict(...) makes them, not {tuple(clips.shape)} and {len(samples)} samples; for single '
            'frames there is stream(frames, state)'
        )


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norm in eval mode inside the block."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
