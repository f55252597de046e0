"""Backbones as lists of stages, for the methods that work between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Maps = tuple[Tensor, ...]
MapsFunction = Callable[[Maps], Maps]


def same(maps: Maps) -> Maps:
    """Return the maps unchanged."""
    return maps


@dataclass(frozen=True)
class Stage:
    """A stage of a backbone, which runs `first`, `last` and, if there is one, `pool`.

    `first` is everything before the last block, with the stem in the first stage; `last` is that block.
    `first_channels` are those of the maps between the two, `channels` those of the maps of the stage. `unpools` says
    that `first` begins with unpooling, as in the decoder of SegNet.
    """

    first: MapsFunction
    last: MapsFunction
    first_channels: tuple[int, ...]
    channels: tuple[int, ...]
    pool: MapsFunction | None = None
    unpools: bool = False

    def __call__(self, maps: Maps) -> Maps:
        """Run the stage on the maps of the stage before, or on the images."""
        return (self.pool or same)(self.last(self.first(maps)))


@dataclass(frozen=True)
class BackbonePass:
    """A backbone as its stages, for one pass: a stage may keep what a later one needs, such as positions of maxima.

    `outputs` takes the maps of every stage and returns those of the backbone.
    """

    stages: tuple[Stage, ...]
    outputs: Callable[[Sequence[Maps]], Maps]

    def __call__(self, images: Tensor) -> Maps:
        """Return the maps of the backbone for images (N, 3, H, W)."""
        maps: Maps = (images,)
        found = []
        for stage in self.stages:
            maps = stage(maps)
            found.append(maps)
        return self.outputs(found)


def split_into_stages(backbone: nn.Module) -> BackbonePass:
    """Return the stages of mmseg's ResNet or HRNet, or of a backbone that has a method `split_into_stages`.

    A ResNet has four stages of one map, an HRNet four of one to four maps, which begin with transitions.
    """
    own: Callable[[], BackbonePass] | None = getattr(backbone, 'split_into_stages', None)
    if callable(own):
        return own()
    from mmseg.models.backbones import HRNet, ResNet  # slow to import; loaded already for these backbones

    if isinstance(backbone, ResNet):
        return _resnet(backbone)
    if isinstance(backbone, HRNet):
        return _hrnet(backbone)
    raise ValueError(
        f'the stages of {type(backbone).__name__} are not known: use SegNet, mmseg.HRNet, mmseg.ResNet or a '
        'subclass of these, or give it a method `split_into_stages` that returns mmmtl.models.backbones.BackbonePass'
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


def _transition(layers: nn.ModuleList) -> MapsFunction:
    """Return the step to the branches of the next stage: those that go on, and a new one from the coarsest."""
    return lambda maps: tuple(maps[i] if layer is None else layer(maps[-1]) for i, layer in enumerate(layers))


def _exchange(module: nn.Module) -> MapsFunction:
    """Return the step of a module, which overwrites the list that it is given."""
    return lambda maps: tuple(module(list(maps)))


def on_map(module: nn.Module) -> MapsFunction:
    """Return the step of a module that has one map."""
    return lambda maps: (module(maps[0]),)


def chain(*runs: MapsFunction) -> MapsFunction:
    """Return one step that takes all of them in turn."""

    def run(maps: Maps) -> Maps:
        for step in runs:
            maps = step(maps)
        return maps

    return run
