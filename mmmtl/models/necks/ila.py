"""Inter-frame local attention: task features propagated from the last key frame and the last non-key frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.ops import local_attention
from mmmtl.registry import MODELS
from mmmtl.structures import Memory
from mmmtl.tasks import Task

from .squeeze_excitation import SqueezeExcitation

SHARED = 'shared'


@MODELS.register_module()
class ILANeck(BaseModule):
    """Features of each task, beside those that local attention propagates to them from earlier frames.

    For each task: f = SE(shared features), h(f) by one 3x3 convolution for query and key alike, and for each earlier
    frame t a slot sum_xy softmax_xy(h(f_k(i, j)) . h(f_t(i + x, j + y))) f_t(i + x, j + y) over a window.

    The slots of a task are (itself, from the last key frame, from the last non-key frame). Nothing recurs: what is
    remembered of a frame depends on that frame alone, so a stream equals the clips that it consists of.

    Args:
        tasks: given by the segmentor.
        channels: C of the shared features.
        attention_channels: channels of h. The paper gives its cost only; 36 would fit table 7, 32 tables 1 and 2 (a
            power of two, the default).
        window: odd side length, or 'global' (table 4).
        multi_frame: also propagate from the last non-key frame, to key frames too. False is "w/o MF": from the last key
            frame to non-key frames only.
        task_specific: an own SE and h for each task. False is "w/o TS": one set, shared by all tasks.
        reduction: of the SE blocks; not in the paper, 16 is usual.
        scale: factor of the logits, 1 in the paper.
        border: 'mask' leaves neighbours outside the image out, 'zero' counts them as zero features.
        backend: of `local_attention`.

    Reference: MILA, section 3.2, equations 1 and 2.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        channels: int,
        attention_channels: int = 32,
        window: int | Literal['global'] = 5,
        multi_frame: bool = True,
        task_specific: bool = True,
        reduction: int = 16,
        scale: float = 1.0,
        border: Literal['mask', 'zero'] = 'mask',
        backend: str = 'auto',
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.branch_of = {name: name if task_specific else SHARED for name in tasks}
        branches = list(dict.fromkeys(self.branch_of.values()))
        self.excite = nn.ModuleDict({b: SqueezeExcitation(channels, reduction=reduction) for b in branches})
        self.embed = nn.ModuleDict({b: nn.Conv2d(channels, attention_channels, 3, padding=1) for b in branches})
        self.multi_frame = multi_frame
        self.window = window
        self.scale = scale
        self.border = border
        self.backend = backend

    @property
    def num_slots(self) -> int:
        """Slots of each task, empty ones included."""
        return 3 if self.multi_frame else 2

    def remember(self, features: Tensor, images: Tensor) -> Memory:
        """What later frames need of this one, and this one's own part of the slots.

        Args:
            features: (N, C, h, w), of the slow or the fast network.
            images: (N, 3, H, W), the frames; other necks may need them.

        Returns:
            `<branch>.features` (N, C, h, w) and `<branch>.embedding` (N, attention_channels, h, w).
        """
        memory = {}
        for branch, excite in self.excite.items():
            excited = excite(features)
            memory[f'{branch}.features'] = excited
            memory[f'{branch}.embedding'] = self.embed[branch](excited)
        return memory

    def reads_key(self, is_key_frame: bool) -> bool:
        """Whether such a frame receives features of the last key frame."""
        return not is_key_frame

    def reads_non_key(self, is_key_frame: bool) -> bool:
        """Whether such a frame receives features of the last non-key frame."""
        return self.multi_frame

    def forward(
        self, current: Memory, key: Memory | None, non_key: Memory | None
    ) -> dict[str, tuple[Tensor | None, ...]]:
        """{task: slots}, each (N, C, h, w) or None.

        Args:
            current: of the frames to predict.
            key: of their last key frames, None leaves the slot empty.
            non_key: of their last non-key frames, likewise.
        """
        sources = (key, non_key) if self.multi_frame else (key,)
        slots = {
            branch: (current[f'{branch}.features'], *(self._propagate(branch, current, source) for source in sources))
            for branch in self.excite
        }
        return {task: slots[branch] for task, branch in self.branch_of.items()}

    def _propagate(self, branch: str, current: Memory, source: Memory | None) -> Tensor | None:
        if source is None:
            return None
        return local_attention(
            current[f'{branch}.embedding'],
            source[f'{branch}.embedding'],
            source[f'{branch}.features'],
            window=self.window,
            scale=self.scale,
            border=self.border,
            backend=self.backend,
        )
