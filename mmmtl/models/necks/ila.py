"""Inter-frame local attention: task features propagated from the last key frame and the last non-key frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from mmmtl.ops import local_attention
from mmmtl.registry import MODELS
from mmmtl.structures import Memory
from mmmtl.tasks import Task

from .propagating_neck import PropagatingNeck


@MODELS.register_module()
class ILANeck(PropagatingNeck):
    """A neck that propagates features of each task from earlier frames by local attention.

    For each task: f = SE(shared features), h(f) by one 3x3 convolution for both query and key, and for each earlier
    frame t a slot sum_xy softmax_xy(h(f_k(i, j)) . h(f_t(i + x, j + y))) f_t(i + x, j + y) over a window (equation 1).

    Args:
        attention_channels: channels of h. The paper gives only its cost; 36 would fit table 7, 32 (a power of two)
            tables 1 and 2.
        window: odd side length, or 'global' (table 4).
        multi_frame: also propagate from the last non-key frame, to key frames too. False is "w/o MF".
        task_specific: an SE and h for each task. False is "w/o TS".
        reduction: reduction of the SE blocks; not in the paper, 16 is usual. None leaves them out.
        scale: factor of the logits, 1 in the paper.
        border: 'mask' leaves neighbours outside the image out, 'zero' counts them as zero features.

    Reference: MILA, section 3.2, equations 1 and 2.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        in_channels: Sequence[int],
        attention_channels: int = 32,
        window: int | Literal['global'] = 5,
        multi_frame: bool = True,
        task_specific: bool = True,
        reduction: int | None = 16,
        scale: float = 1.0,
        border: Literal['mask', 'zero'] = 'mask',
        backend: str = 'auto',
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks, in_channels, init_cfg, multi_frame=multi_frame, task_specific=task_specific, reduction=reduction
        )
        channels = in_channels[-1]
        self.embed = nn.ModuleDict({b: nn.Conv2d(channels, attention_channels, 3, padding=1) for b in self.excite})
        self.window = window
        self.scale = scale
        self.border = border
        self.backend = backend

    def remember(self, features: Tensor, images: Tensor) -> Memory:
        """Return the features and `<branch>.embedding` (N, attention_channels, h, w)."""
        memory = super().remember(features, images)
        return memory | {f'{b}.embedding': embed(memory[f'{b}.features']) for b, embed in self.embed.items()}

    def propagate(self, current: Memory, source: Memory) -> dict[str, Tensor]:
        return {
            branch: local_attention(
                current[f'{branch}.embedding'],
                source[f'{branch}.embedding'],
                source[f'{branch}.features'],
                window=self.window,
                scale=self.scale,
                border=self.border,
                backend=self.backend,
            )
            for branch in self.embed
        }
