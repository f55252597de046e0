"""Contexts of ATRC: what the features of a target task gather from those of a source task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmmtl.models.layers import linear_attention
from mmmtl.models.layers.linear_attention import full_precision
from mmmtl.ops import local_attention
from mmmtl.ops.precision import at_least_float32

# Shape letters: N batch, C channels of the features, D of the attention, H W the map, K regions: the classes of a task.


class TaskMaps(NamedTuple):
    """What a context sees of a task: features (N, C, H, W), and logits (N, K, H, W) in its label space if needed."""

    features: Tensor
    label_space: Tensor | None = None


class Context(nn.Module, ABC):
    """Projections of an attention: query of the target, key and value of the source.

    Query and key are two 1x1 convolutions, the value one, each with norm and ReLU; Xavier's weights.

    Args:
        in_channels: C.
        channels: D of query, key and value.
        norm_cfg: normalisation.
        affine_value: whether the norm of the value has a weight and a bias.

    Reference: ATRC, section 3.2; the layers are those of its code.
    """

    def __init__(
        self, in_channels: int, channels: int, *, norm_cfg: dict[str, Any] | None = None, affine_value: bool = True
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')

        def project(convs: int, norm_cfg: dict[str, Any]) -> nn.Sequential:
            widths = [in_channels] + [channels] * convs
            layers = [ConvModule(a, b, 1, norm_cfg=norm_cfg) for a, b in zip(widths, widths[1:], strict=False)]
            return nn.Sequential(*layers)

        self.query, self.key = project(2, norm_cfg), project(2, norm_cfg)
        self.value = project(1, norm_cfg if affine_value else {**norm_cfg, 'affine': False})
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    @abstractmethod
    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        """Return (N, D, H, W), what the target task gathers from the source task; the K of the two may differ."""


class GlobalContext(Context):
    """Attention over all pixels, in linear form; query and key end in a softplus, not a ReLU, so none is zero."""

    def __init__(
        self, in_channels: int, channels: int, *, norm_cfg: dict[str, Any] | None = None, affine_value: bool = True
    ) -> None:
        super().__init__(in_channels, channels, norm_cfg=norm_cfg, affine_value=affine_value)
        for projection in (self.query, self.key):
            projection[-1].activate = nn.Softplus()

    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        """Return what `Context` says; label spaces have no effect."""
        maps = self.query(target.features), self.key(source.features), self.value(source.features)
        query, key, value = (map_.flatten(2) for map_ in maps)
        return linear_attention(query, key, value).unflatten(2, target.features.shape[2:])


class LocalContext(Context):
    """Softmax attention of each pixel over a 9x9 window, with logits divided by sqrt(D).

    Neighbours outside the map take part with logit 0 and value 0, as in ATRC's code; the paper does not say.
    """

    window = 9

    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        """Return what `Context` says; label spaces have no effect."""
        query, key, value = self.query(target.features), self.key(source.features), self.value(source.features)
        scale = query.shape[1] ** -0.5
        return local_attention(query, key, value, window=self.window, scale=scale, border='zero')


class LabelContext(Context):
    """Softmax attention of each pixel over regions of the source, with logits divided by sqrt(D).

    The regions are the classes of a label space: T-label context takes the target's, S-label context the source's.

    Args:
        labels: whose label space, 'target' or 'source'.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        labels: Literal['target', 'source'],
        norm_cfg: dict[str, Any] | None = None,
        affine_value: bool = True,
    ) -> None:
        super().__init__(in_channels, channels, norm_cfg=norm_cfg, affine_value=affine_value)
        self.labels = labels

    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        """Return what `Context` says."""
        labels = (target if self.labels == 'target' else source).label_space
        assert labels is not None, f'the label space of the {self.labels} task is missing'
        regions = region_descriptors(source.features, labels).unsqueeze(3)
        maps = self.query(target.features), self.key(regions), self.value(regions)
        query, key, value = (map_.flatten(2) for map_ in maps)
        weights = torch.bmm(query.transpose(1, 2) * query.shape[1] ** -0.5, key).softmax(dim=2)  # (N, H * W, K)
        return torch.bmm(value, weights.to(value.dtype).transpose(1, 2)).unflatten(2, target.features.shape[2:])


def region_descriptors(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean features of each region, weighted by how much each pixel belongs to it.

    out[:, c, k] = sum_p softmax_p(labels[:, k, p]) features[:, c, p]

    Softmax (over the pixels) and sum are float32 at least, also under autocast: thousands of small weights lose their
    digits in less.

    Args:
        features: (N, C, H, W).
        labels: (N, K, H, W), logits.

    Returns:
        (N, C, K), dtype of `features`.

    Reference: Yuan et al., Object-Contextual Representations for Semantic Segmentation, ECCV 2020, section 3.2.
    """
    dtype = at_least_float32(features)
    with full_precision(features.device.type):
        weights = labels.to(dtype).flatten(2).softmax(dim=2)
        return torch.bmm(features.to(dtype).flatten(2), weights.transpose(1, 2)).to(features.dtype)


def build_context(
    kind: str,
    in_channels: int,
    channels: int,
    *,
    norm_cfg: dict[str, Any] | None = None,
    affine_value: bool = True,
) -> Context:
    """Return the context of a type of `CONTEXTS` other than 'none'."""
    if kind == 'global':
        return GlobalContext(in_channels, channels, norm_cfg=norm_cfg, affine_value=affine_value)
    if kind == 'local':
        return LocalContext(in_channels, channels, norm_cfg=norm_cfg, affine_value=affine_value)
    labels: Literal['target', 'source'] = 'target' if kind == 'target_label' else 'source'
    return LabelContext(in_channels, channels, labels=labels, norm_cfg=norm_cfg, affine_value=affine_value)
