"""Multi-head self-attention within the windows of a map, which may be shifted."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Shape letters: N batch, C channels, H W size of the map, w side of a window, P = w * w positions of a window,
# G windows of a map, A heads, D = C / A channels of a head.

Padding = Literal['mask', 'zero']


def pad_to_windows(maps: Tensor, window: int) -> Tensor:
    """Pad (N, H, W, C) with zeros at the bottom and the right, up to multiples of the window."""
    return F.pad(maps, (0, 0, 0, -maps.shape[2] % window, 0, -maps.shape[1] % window))


def to_windows(maps: Tensor, window: int) -> Tensor:
    """Return (N, G, P, C), windows and positions row by row, of (N, H, W, C) with H and W multiples of the window.

    Examples:
        >>> to_windows(torch.arange(16).view(1, 4, 4, 1), 2)[0, :, :, 0].tolist()
        [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    """
    n, height, width, channels = maps.shape
    blocks = maps.view(n, height // window, window, width // window, window, channels).transpose(2, 3)
    return blocks.reshape(n, -1, window * window, channels)


def from_windows(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Invert `to_windows`: return (N, H, W, C)."""
    n, _, places, channels = windows.shape
    side = round(places**0.5)
    blocks = windows.view(n, size[0] // side, size[1] // side, side, side, channels).transpose(2, 3)
    return blocks.reshape(n, *size, channels)


def window_mask(
    size: tuple[int, int], padded: tuple[int, int], window: int, shift: tuple[int, int], device: torch.device
) -> Tensor | None:
    """Return which positions of a window may attend to each other: (G, P, P) bool, or None if all may.

    A map of `size` (H, W) was padded to `padded`, multiples of the window, and rolled up and to the left by `shift`. A
    window at the end therefore holds rows (or columns) of both ends. These do not see each other, nor do padding and
    map.
    """
    if padded == size and shift == (0, 0):
        return None
    rows, columns = (torch.arange(p, device=device).roll(-s) for p, s in zip(padded, shift, strict=True))
    rolled = (rows < shift[0]).long()[:, None] * 2 + (columns < shift[1])
    outside = (rows >= size[0])[:, None] | (columns >= size[1])
    region = to_windows((rolled + 4 * outside)[None, :, :, None], window)[0, :, :, 0]
    return region[:, :, None] == region[:, None, :]


def window_attention(qkv: Tensor, bias: Tensor, *, window: int, shift: int = 0) -> Tensor:
    """Return the softmax attention (N, H, W, C) of each position over the positions of its window.

    out[a] = sum_b softmax_b(query[a] . key[b] / sqrt(D) + bias[a, b]) value[b]

    The map is padded to multiples of the window at the bottom and the right; padding takes no part. A side that is not
    longer than the window is one window and is not shifted.

    Args:
        qkv: (N, H, W, 3 * C), query, key and value of all heads.
        bias: (A, P, P), added to the logits of each head.
        window: w.
        shift: rows and columns by which the windows are displaced, less than w.

    Reference: Liu et al., Swin Transformer, ICCV 2021, section 3.2, equation 4 and figure 4.
    """
    height, width = qkv.shape[1:3]
    qkv = pad_to_windows(qkv, window)
    padded = (qkv.shape[1], qkv.shape[2])
    shifts = (shift if padded[0] > window else 0, shift if padded[1] > window else 0)
    if any(shifts):
        qkv = qkv.roll((-shifts[0], -shifts[1]), dims=(1, 2))
    heads = torch.unflatten(to_windows(qkv, window), -1, (3, len(bias), -1))
    query, key, value = heads.permute(3, 0, 1, 4, 2, 5).unbind(0)  # (N, G, A, P, D)
    # In place: the logits are by far the largest tensor here, and addition needs no mask in the backward pass.
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    logits += bias
    mask = window_mask((height, width), padded, window, shifts, qkv.device)
    if mask is not None:
        logits += torch.zeros_like(mask, dtype=logits.dtype).masked_fill(~mask, float('-inf'))[:, None]
    attended = logits.softmax(dim=-1).to(value.dtype) @ value
    maps = from_windows(attended.transpose(2, 3).flatten(3), padded)
    if any(shifts):
        maps = maps.roll(shifts, dims=(1, 2))
    return maps[:, :height, :width]


class WindowAttention(nn.Module):
    """Projections and relative position bias around `window_attention`: W-MSA, or SW-MSA with a shift.

    Args:
        channels: C, a multiple of `num_heads`.
        num_heads: A.
        window: w.
        shift: displacement of the windows in 0..w - 1.
        padding: 'mask' excludes padding from attention; with 'zero' its zeros are projected and attended like the map,
            as in Swin's released code for dense prediction.

    Reference: Liu et al., Swin Transformer, ICCV 2021, section 3.2.
    """

    index: Tensor

    def __init__(
        self, channels: int, *, num_heads: int, window: int = 7, shift: int = 0, padding: Padding = 'mask'
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'{channels} channels cannot be divided among {num_heads} heads; change num_heads')
        if not 0 <= shift < window:
            raise ValueError(f'shift must be in 0..{window - 1}, not {shift}')
        if padding not in get_args(Padding):
            raise ValueError(f'padding must be one of {get_args(Padding)}, not {padding!r}')
        self.window = window
        self.shift = shift
        self.padding = padding
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer('index', relative_index(window), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, H, W, C) from (N, H, W, C)."""
        height, width = maps.shape[1:3]
        if self.padding == 'zero':
            maps = pad_to_windows(maps, self.window)
        bias = self.bias[self.index].permute(2, 0, 1)
        maps = self.project(window_attention(self.qkv(maps), bias, window=self.window, shift=self.shift))
        return maps[:, :height, :width]


def relative_index(window: int) -> Tensor:
    """Return (P, P), in 0..(2w - 1)^2 - 1: a number for the displacement of place b from place a."""
    steps = torch.arange(window)
    places = torch.cartesian_prod(steps, steps)
    displacement = places[:, None] - places[None, :] + window - 1
    return displacement[..., 0] * (2 * window - 1) + displacement[..., 1]
