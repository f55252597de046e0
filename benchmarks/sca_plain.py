"""SCA-MTL in plain form, in the order of its equations, as an alternative to ours.

There is one loop turn for each ordered pair of tasks and for each pair of scales of a task; each turn computes query,
key and value anew; maps are upsampled before they are concatenated and convolved. The released code computes like this.
Parameters have the names and shapes of ours, for `load`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.backbones import feature_channels
from mmmtl.models.decode_heads import HeadOutput
from mmmtl.registry import MODELS

# Shape letters: N batch, C channels, H W size of a map, w side of a window, A heads, M tasks.


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm and an optional ReLU."""

    def __init__(self, in_channels: int, out_channels: int, size: int = 1, *, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, with a 1x1 convolution if the widths differ."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels, 3)
        self.conv2 = ConvNorm(out_channels, out_channels, 3, act=False)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else ConvNorm(in_channels, out_channels, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(x)) + self.shortcut(x))


class Attention(nn.Module):
    """Linear attention from a target to one source, equations 1 and 2; (N, C, H, W) like the target."""

    def __init__(self, channels: int, convs: int) -> None:
        super().__init__()
        self.query, self.key = (
            nn.Sequential(*(ConvNorm(channels, channels, act=i < convs - 1) for i in range(convs)), nn.Softplus())
            for _ in range(2)
        )
        self.value = ConvNorm(channels, channels)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        query = self.query(target).flatten(2).transpose(1, 2)
        key = self.key(source).flatten(2).transpose(1, 2)
        value = self.value(source).flatten(2).transpose(1, 2)
        context = torch.einsum('nsd,nsv->ndv', key, value)
        normaliser = torch.einsum('nld,nd->nl', query, key.sum(dim=1)).clamp(min=1e-12)
        out = torch.einsum('nld,ndv->nlv', query, context) / normaliser[:, :, None]
        return out.transpose(1, 2).reshape(target.shape)


class WindowAttention(nn.Module):
    """Attention in windows, shifted or not; padding is masked, or takes part as zeros."""

    def __init__(self, channels: int, *, heads: int, shift: int, mask_padding: bool, window: int = 7) -> None:
        super().__init__()
        self.heads, self.shift, self.mask_padding, self.window = heads, shift, mask_padding, window
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        steps = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing='ij')).flatten(1)
        rows, columns = steps[:, :, None] - steps[:, None, :] + window - 1
        self.register_buffer('index', rows * (2 * window - 1) + columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend in windows, (N, H, W, C) to (N, H, W, C)."""
        w, (height, width) = self.window, x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % w, 0, -height % w))
        shifts = [self.shift if side > w else 0 for side in x.shape[1:3]]
        x = x.roll([-s for s in shifts], (1, 2))
        windows = self.split(x)  # (N * windows, w * w, C)
        q, k, v = self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + self.bias[self.index].permute(2, 0, 1)
        mask = self.mask(x, (height, width), shifts)  # (windows, w * w, w * w)
        weights = (weights.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1).softmax(dim=-1)
        out = self.project((weights @ v).transpose(1, 2).flatten(2))
        x = out.view(len(x), x.shape[1] // w, x.shape[2] // w, w, w, -1).transpose(2, 3).reshape(x.shape)
        return x.roll(shifts, (1, 2))[:, :height, :width].contiguous()

    def split(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        w = self.window
        return x.view(n, height // w, w, width // w, w, channels).transpose(2, 3).reshape(-1, w * w, channels)

    def mask(self, x: Tensor, size: Sequence[int], shifts: Sequence[int]) -> Tensor:
        """Return -100 between positions that a shift, or padding if it is masked, brought together."""
        number = x.new_zeros(x.shape[1:3])
        for axis, shift in enumerate(shifts):
            number.narrow(axis, x.shape[1 + axis] - shift, shift).add_(1 + axis)
        if self.mask_padding:
            padding = x.new_full(x.shape[1:3], 4)
            padding[: size[0], : size[1]] = 0
            number += padding.roll([-s for s in shifts], (0, 1))
        places = self.split(number[None, :, :, None])[:, :, 0]
        return (places[:, :, None] != places[:, None, :]).to(x) * -100


class Block(nn.Module):
    """x + attention(norm(x))."""

    def __init__(self, channels: int, **kwargs: int | bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.norm(x))


class Swin(nn.Module):
    """1x1 convolution, norm, blocks, norm."""

    def __init__(self, channels: int, *, depth: int, **kwargs: int | bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, channels, 1)
        self.embed_norm, self.norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.blocks = nn.Sequential(*(Block(channels, shift=3 * (i % 2), **kwargs) for i in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))
        return self.norm(self.blocks(x)).permute(0, 3, 1, 2).contiguous()


class Neck(nn.Module):
    """The maps, each with its self-attention in front."""

    def __init__(self, channels: Sequence[int], **kwargs: int | bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(Swin(c, depth=2, **kwargs) for c in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [torch.cat([stage(x), x], dim=1) for stage, x in zip(self.stages, features, strict=True)]


class CTAM(nn.Module):
    """Equation 3, one turn for each ordered pair of tasks."""

    def __init__(self, tasks: Sequence[str], channels: int, *, released: bool) -> None:
        super().__init__()
        self.attend = nn.ModuleDict(
            {t: nn.ModuleDict({s: Attention(channels, 1 + released) for s in tasks if s != t}) for t in tasks}
        )
        width = 2 * channels * (len(tasks) - 1)
        if released:
            self.shared_fuse = Residual(width, channels)
        else:
            self.fuse = nn.ModuleDict({t: nn.Conv2d(width, channels, 1) for t in tasks})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        out = {}
        for target, sources in self.attend.items():
            found = []
            for source, attend in sources.items():
                found.append(torch.cat([features[target], attend(features[target], features[source])], dim=1))
            fuse = self.fuse[target] if hasattr(self, 'fuse') else self.shared_fuse
            out[target] = features[target] + fuse(torch.cat(found, dim=1))
        return out


class FPMA(nn.Module):
    """A mask by window attention over all tasks, a residual block, and a gate for each task."""

    def __init__(self, tasks: Sequence[str], channels: int, *, released: bool) -> None:
        super().__init__()
        self.released = released
        self.stage = Swin(len(tasks) * channels, depth=1, heads=4, mask_padding=not released)
        self.fuse = Residual(len(tasks) * channels, channels)
        hidden = channels // 16

        def gate() -> nn.Module:
            layers = (nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid())
            return nn.ModuleDict({'gate': nn.Sequential(*layers)})

        self.excite = nn.ModuleDict({t: gate() for t in tasks})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        stacked = torch.cat(list(features.values()), dim=1)
        scores = self.stage(stacked)
        n, channels, height, width = scores.shape
        if self.released:
            mask = scores.view(n, -1, len(features), height, width).softmax(dim=2)
        else:
            mask = scores.view(n, len(features), -1, height, width).softmax(dim=1)
        shared = self.fuse(mask.view(n, channels, height, width) * stacked)
        out = {}
        for name, own in features.items():
            out[name] = shared * self.excite[name]['gate'](F.adaptive_avg_pool2d(shared, 1)) + own
        return out


class CSAM(nn.Module):
    """Equation 4, one turn for each pair of scales."""

    def __init__(self, channels: Sequence[int], *, released: bool) -> None:
        super().__init__()
        self.released = released
        coarser = len(channels) - 1
        self.out_channels = [2 * c * (coarser - k) for k, c in enumerate(channels[:-1])] + [channels[-1]]
        widths = channels if released else self.out_channels
        self.project = nn.ModuleList(
            nn.ModuleList(ConvNorm(width, c, act=False) for width in widths[k + 1 :])
            for k, c in enumerate(channels[:-1])
        )
        self.attend = nn.ModuleList(Attention(c, 1 + released) for c in channels[:-1])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        out = list(features)
        for k in reversed(range(len(features) - 1)):
            found = []
            for i, project in enumerate(self.project[k]):
                source = (features if self.released else out)[k + 1 + i]
                found.append(torch.cat([features[k], self.attend[k](features[k], project(source))], dim=1))
            out[k] = torch.cat(found, dim=1)
        return out


class Head(nn.Module):
    """The residual blocks of a task at a scale, its input from the coarser scale, and the preliminary prediction."""

    def __init__(self, channels: int, out_channels: int, coarse: int, *, released: bool) -> None:
        super().__init__()
        before = coarse if released else 0
        self.blocks = nn.Sequential(Residual(channels + before, channels), Residual(channels, channels))
        if coarse and not released:
            self.merge = ConvNorm(coarse, channels, act=False)
        self.predict = nn.Conv2d(channels, out_channels, 1)

    def forward(self, shared: Tensor, coarse: Tensor | None) -> Tensor:
        if coarse is None:
            return self.blocks(shared)
        coarse = F.interpolate(coarse, shared.shape[2:], mode='bilinear')
        if hasattr(self, 'merge'):
            return self.blocks(shared) + self.merge(coarse)
        return self.blocks(torch.cat([shared, coarse], dim=1))


class Aggregation(nn.Module):
    """Equation 5, in the order upsample, concatenate, convolve."""

    def __init__(self, channels: int, out_channels: int, *, released: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels if released else out_channels, 1)
        self.predict = nn.Identity()
        if released:
            layers = (nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, out_channels, 1))
            self.predict = nn.Sequential(*layers)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = features[0].shape[2:]
        upsampled = [F.interpolate(f, size, mode='bilinear') for f in features]
        return self.predict(self.conv(torch.cat(upsampled, dim=1)))


class Decoder(nn.Module):
    """Section 2, scale by scale from coarse to fine, then task by task."""

    def __init__(self, tasks: Mapping[str, int], widths: Sequence[int], *, released: bool) -> None:
        super().__init__()
        options = dict(released=released)
        names = list(tasks)
        coarse = [*widths[1:], 0]
        self.heads = nn.ModuleList(
            nn.ModuleDict({t: Head(c, out, below, **options) for t, out in tasks.items()})
            for c, below in zip(widths, coarse, strict=True)
        )
        self.exchange = nn.ModuleList(CTAM(names, c, **options) for c in widths)
        self.propagation = nn.ModuleList(FPMA(names, c, **options) for c in widths[1:])
        self.cross_scale = nn.ModuleDict({t: CSAM(widths, **options) for t in names})
        total = sum(self.cross_scale[names[0]].out_channels)
        self.aggregation = nn.ModuleDict({t: Aggregation(total, out, **options) for t, out in tasks.items()})

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        preliminary, scales, propagated = [], [], {}
        for i in reversed(range(len(features))):
            own, early = {}, {}
            for name, head in self.heads[i].items():
                own[name] = head(features[i], propagated.get(name))
                early[name] = head.predict(own[name])
            preliminary.insert(0, early)
            own = self.exchange[i](own)
            propagated = self.propagation[i - 1](own) if i else {}
            scales.insert(0, own)
        logits = {}
        for name, csam in self.cross_scale.items():
            logits[name] = self.aggregation[name](csam([scale[name] for scale in scales]))
        return HeadOutput(logits, preliminary=preliminary)


class PlainSCA(nn.Module):
    """Backbone, self-attention beside it, and decoder; predictions of images (N, 3, H, W).

    Args:
        model: our config, which gives the backbone.
        tasks: channels of each task's prediction; concatenated sorted by name.
    """

    def __init__(self, model: ConfigDict, tasks: Mapping[str, int]) -> None:
        super().__init__()
        released = model.decode_head.get('fpma_entry') == 'input'
        self.backbone = MODELS.build(model.backbone)
        widths = feature_channels(self.backbone)
        self.neck = Neck(widths, heads=model.neck.get('num_heads', 6), mask_padding=not released)
        self.decode_head = Decoder(dict(sorted(tasks.items())), [2 * width for width in widths], released=released)

    def forward(self, images: Tensor) -> HeadOutput:
        return self.decode_head(self.neck(self.backbone(images)))

    def load(self, ours: MultiTaskSegmentor) -> None:
        """Copy our weights."""
        self.load_state_dict({k: v for k, v in ours.state_dict().items() if not k.endswith('.order.positions')})
