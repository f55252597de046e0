"""Backbones as lists of stages, for the methods that look or reach between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Maps = tuple[Tensor, ...]
Run = Callable[[Maps], Maps]


def same(maps: Maps) -> Maps:
    """The maps as they are."""
    return maps


@dataclass(frozen=True)
class Stage:
    """A stage of a backbone, in the order in which it runs: `first`, `last`, `pool`.

    Args:
        first: everything before the last block; in the first stage of a network the stem too.
        last: the last block.
        first_channels: of the maps between the two.
        channels: of the maps of the stage.
        pool: pooling at the end of the stage, where it has one.
        unpools: whether `first` begins with unpooling, as in the decoder of SegNet.
    """

    first: Run
    last: Run
    first_channels: tuple[int, ...]
    channels: tuple[int, ...]
    pool: Run | None = None
    unpools: bool = False

    def __call__(self, maps: Maps) -> Maps:
        """Maps of the stage, of those of the stage before or of the pictures."""
        return (self.pool or same)(self.last(self.first(maps)))


@dataclass(frozen=True)
class BackbonePass:
    """A backbone as stages, for one pass: stages may keep what a later one needs, such as the places of maxima.

    Args:
        stages: in the order of running.
        outputs: what the backbone returns, of the maps of every stage.
    """

    stages: tuple[Stage, ...]
    outputs: Callable[[Sequence[Maps]], Maps]

    def __call__(self, images: Tensor) -> Maps:
        """What the backbone returns for pictures (N, 3, H, W)."""
        maps: Maps = (images,)
        found = []
        for stage in self.stages:
            maps = stage(maps)
            found.append(maps)
        return self.outputs(found)


def split_into_stages(backbone: nn.Module) -> BackbonePass:
    """Return the stages of mmseg's ResNet or HRNet, or of a backbone that has a method `split_into_stages`.

    Four stages of one map for a ResNet, of one to four maps for an HRNet, whose transitions open the stages.

    Raises:
        ValueError: the stages of this backbone are not known.
    """
    if callable(own := getattr(backbone, 'split_into_stages', None)):
        return own()
    from mmseg.models.backbones import HRNet, ResNet  # slow to import, and then imported already

    if isinstance(backbone, ResNet):
        return _resnet(backbone)
    if isinstance(backbone, HRNet):
        return _hrnet(backbone)
    raise ValueError(
        f'the stages of {type(backbone).__name__} are not known: use SegNet, mmseg.HRNet, or mmseg.ResNet and what '
        'derives from it, or give it a method `split_into_stages` that returns mmmtl.models.backbones.BackbonePass'
    )


def _resnet(net: Any) -> BackbonePass:
    layers = [getattr(net, name) for name in net.res_layers]

    def stem(maps: Maps) -> Maps:
        (x,) = maps
        return (net.maxpool(net.stem(x) if net.deep_stem else net.relu(net.norm1(net.conv1(x)))),)

    widths = [net.stem_channels, *(net.base_channels * 2**i * net.block.expansion for i in range(len(layers)))]
    stages = tuple(
        Stage(
            first=chain(stem if i == 0 else same, *map(on_map, list(layer)[:-1])),
            last=on_map(layer[-1]),
            first_channels=(widths[i + 1 if len(layer) > 1 else i],),
            channels=(widths[i + 1],),
        )
        for i, layer in enumerate(layers)
    )
    return BackbonePass(stages, lambda maps: tuple(maps[i][0] for i in range(len(maps)) if i in net.out_indices))


def _hrnet(net: Any) -> BackbonePass:
    def stem(maps: Maps) -> Maps:
        (x,) = maps
        return (net.relu(net.norm2(net.conv2(net.relu(net.norm1(net.conv1(x)))))),)

    def widths(i: int) -> tuple[int, ...]:
        cfg = net.extra[f'stage{i}']
        return tuple(width * net.blocks_dict[cfg['block']].expansion for width in cfg['num_channels'])

    stem_width = (net.conv2.out_channels,)
    stages = [
        Stage(
            first=chain(stem, *map(on_map, list(net.layer1)[:-1])),
            last=on_map(net.layer1[-1]),
            first_channels=widths(1) if len(net.layer1) > 1 else stem_width,
            channels=widths(1),
        )
    ]
    for i in (2, 3, 4):
        modules = list(getattr(net, f'stage{i}'))
        stages.append(
            Stage(
                first=chain(_transition(getattr(net, f'transition{i - 1}')), *map(_exchange, modules[:-1])),
                last=_exchange(modules[-1]),
                first_channels=widths(i),
                channels=widths(i) if modules[-1].multiscale_output else widths(i)[:1],
            )
        )
    return BackbonePass(tuple(stages), lambda maps: maps[-1])


def _transition(layers: nn.ModuleList) -> Run:
    """To the branches of the next stage of an HRNet: those that go on, and a new one from the coarsest."""
    return lambda maps: tuple(maps[i] if layer is None else layer(maps[-1]) for i, layer in enumerate(layers))


def _exchange(module: nn.Module) -> Run:
    """A module of an HRNet, which overwrites the list that it is given."""
    return lambda maps: tuple(module(list(maps)))


def on_map(module: nn.Module) -> Run:
    """A module of one map."""
    return lambda maps: (module(maps[0]),)


def chain(*runs: Run) -> Run:
    """One after the other."""

    def run(maps: Maps) -> Maps:
        for step in runs:
            maps = step(maps)
        return maps

    return run
