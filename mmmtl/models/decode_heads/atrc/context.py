"""Contexts of ATRC: attention of the features of a target task to those of a source task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mmmtl.models.layers import PlainConvModule, linear_attention
from mmmtl.models.layers.linear_attention import full_precision
from mmmtl.ops import local_attention
from mmmtl.ops.precision import at_least_float32

# Shape letters: N batch, C channels of the features, D of the attention, H W map, K regions (the classes of a task).


class TaskMaps(NamedTuple):
    """The input of a context from one task: features (N, C, H, W) and, if needed, label-space logits (N, K, H, W)."""

    features: Tensor
    label_space: Tensor | None = None


class Context(nn.Module, ABC):
    """Projections of an attention: query of the target task, key and value of the source task.

    Query and key are two 1x1 convolutions each, the value is one, all with norm and ReLU and Xavier initialisation.

    Args:
        in_channels: C.
        channels: D of query, key and value.
        affine_value: whether the norm of the value has a weight and a bias.

    Reference: ATRC, section 3.2; the layers are those of its released code.
    """

    softplus: ClassVar[bool] = False

    def __init__(
        self, in_channels: int, channels: int, *, norm_cfg: dict[str, Any] | None = None, affine_value: bool = True
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')

        def project(convs: int, norm_cfg: dict[str, Any]) -> nn.Sequential:
            widths = [in_channels] + [channels] * convs
            layers = [PlainConvModule(a, b, 1, norm_cfg=norm_cfg) for a, b in zip(widths, widths[1:], strict=False)]
            return nn.Sequential(*layers)

        self.query, self.key = project(2, norm_cfg), project(2, norm_cfg)
        self.value = project(1, norm_cfg if affine_value else {**norm_cfg, 'affine': False})
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
        if self.softplus:
            self.query[-1].activate, self.key[-1].activate = nn.Softplus(), nn.Softplus()

    @abstractmethod
    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        """Return (N, D, H, W), what the target task gathers from the source task. The two tasks may differ in K."""


class GlobalContext(Context):
    """Linear attention over all pixels. Query and key end in a softplus, not a ReLU, so they are never zero."""

    softplus = True

    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        maps = self.query(target.features), self.key(source.features), self.value(source.features)
        query, key, value = (map_.flatten(2) for map_ in maps)
        return torch.unflatten(linear_attention(query, key, value), 2, target.features.shape[2:])


class LocalContext(Context):
    """Softmax attention of each pixel over a 9x9 window, with logits divided by sqrt(D).

    Neighbours outside the map take part with logit 0 and value 0, as in ATRC's released code; the paper does not say.
    """

    window = 9

    def forward(self, target: TaskMaps, source: TaskMaps) -> Tensor:
        query, key, value = self.query(target.features), self.key(source.features), self.value(source.features)
        scale = query.shape[1] ** -0.5
        return local_attention(query, key, value, window=self.window, scale=scale, border='zero')


class LabelContext(Context):
    """Softmax attention of each pixel over regions of the source, with logits divided by sqrt(D).

    The regions are the classes of a label space: T-label context takes the target's (`labels='target'`), S-label
    context the source's.
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
        labels = (target if self.labels == 'target' else source).label_space
        assert labels is not None, f'the label space of the {self.labels} task is missing'
        regions = region_descriptors(source.features, labels).unsqueeze(3)
        maps = self.query(target.features), self.key(regions), self.value(regions)
        query, key, value = (map_.flatten(2) for map_ in maps)
        weights = torch.bmm(query.transpose(1, 2) * query.shape[1] ** -0.5, key).softmax(dim=2)  # (N, H * W, K)
        attended = torch.bmm(value, weights.to(value.dtype).transpose(1, 2))
        return torch.unflatten(attended, 2, target.features.shape[2:])


def region_descriptors(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean features (N, C, K) of each region, weighted by how much each pixel belongs to it.

    out[:, c, k] = sum_p softmax_p(labels[:, k, p]) features[:, c, p]

    Features are (N, C, H, W), labels are logits (N, K, H, W). Softmax (over the pixels) and sum are computed in float32
    at least, also under autocast: thousands of small weights lose their digits in half precision. The result has the
    dtype of the features.

    Reference: Yuan et al., Object-Contextual Representations for Semantic Segmentation, ECCV 2020, section 3.2.
    """
    dtype = at_least_float32(features)
    with full_precision(features.device.type):
        weights = labels.to(dtype).flatten(2).softmax(dim=2)
        return torch.bmm(features.to(dtype).flatten(2), weights.transpose(1, 2)).to(features.dtype)


def build_context(
    kind: str, in_channels: int, channels: int, *, norm_cfg: dict[str, Any] | None = None, affine_value: bool = True
) -> Context:
    """Build the context of a type of `CONTEXTS` other than 'none'."""
    if kind == 'global':
        return GlobalContext(in_channels, channels, norm_cfg=norm_cfg, affine_value=affine_value)
    if kind == 'local':
        return LocalContext(in_channels, channels, norm_cfg=norm_cfg, affine_value=affine_value)
    labels: Literal['target', 'source'] = 'target' if kind == 'target_label' else 'source'
    return LabelContext(in_channels, channels, labels=labels, norm_cfg=norm_cfg, affine_value=affine_value)
