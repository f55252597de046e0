"""Construction of a model: each part learns its input channels from the part before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch import nn

from mmmtl.models.backbones import AlignedBackbone, feature_channels, last_stride
from mmmtl.models.decode_heads import DecodeHead
from mmmtl.registry import MODELS, model_component, refuses_argument, takes_argument
from mmmtl.tasks import Task


def build_fast_backbone(cfg: dict[str, Any], slow: nn.Module) -> nn.Module:
    """Build the fast network; an `AlignedBackbone` without `channels` gets those of the slow one.

    Raises:
        ValueError: the last maps of the two networks differ in stride or channels.
    """
    if model_component(cfg) is AlignedBackbone and cfg.get('channels') is None:
        cfg = {**cfg, 'channels': feature_channels(slow, last=1)[0]}
    fast: nn.Module = MODELS.build(cfg)
    for what, measure in (('stride', last_stride), ('channels', lambda net: feature_channels(net, last=1)[0])):
        theirs, ours = measure(slow), measure(fast)
        if theirs != ours and None not in (theirs, ours):
            raise ValueError(
                f'model.fast_backbone ({_name(fast)}) has a last map of {what} {_plain(ours)}, and model.backbone '
                f'({_name(slow)}) one of {what} {_plain(theirs)}; they must be equal, so change strides, dilations or '
                'out_indices of one, or put it into an AlignedBackbone for other channels'
            )
    return fast


def _name(backbone: nn.Module) -> str:
    return type(backbone.backbone if isinstance(backbone, AlignedBackbone) else backbone).__name__


def _plain(value: Any) -> str:
    """Return a number, or the numbers of a tuple without repeating equal ones."""
    numbers = value if isinstance(value, tuple) else (value,)
    return ' x '.join(f'{number:g}' for number in (numbers if len(set(numbers)) > 1 else numbers[:1]))


def build_reader(cfg: dict[str, Any], *source: nn.Module, **given: Any) -> Any:
    """Build a neck, a head or a feature loss, which reads the maps of `source`, a backbone, or a backbone and a neck.

    Where the component takes `in_channels` and the config has none, they are those of the source, in a list, which the
    necks of mmseg want. `given` overrides the config.
    """
    if takes_argument(cfg, 'in_channels') and cfg.get('in_channels') is None:
        cfg = {**cfg, 'in_channels': list(feature_channels(*source))}
    elif isinstance(number := cfg.get('in_channels'), int):
        raise ValueError(
            f'{cfg["type"]}: in_channels={number} must be a sequence with the channels of each map, such as '
            f'({number},); leave it out to take those of the part before'
        )
    for name in given:
        if refuses_argument(cfg, name):
            hint = ', the number of maps that the neck of a video model gives each task' if name == 'num_slots' else ''
            raise ValueError(f'{cfg["type"]} must take the argument {name!r}{hint}')
    return MODELS.build({**cfg, **given})


def build_neck(cfg: dict[str, Any], source: nn.Module, tasks: Mapping[str, Task]) -> Any:
    """Build a neck; those of mmseg, whose maps all tasks share, take no `tasks`."""
    return build_reader(cfg, source, **({'tasks': tasks} if takes_argument(cfg, 'tasks') else {}))


def check_preliminary(head: DecodeHead, tasks: Mapping[str, Task], weight: float) -> None:
    """Refuse a weight of preliminary predictions, or auxiliary tasks, that do not fit the head or each other."""
    if not isinstance(weight, Real) or not 0 <= weight < math.inf:
        raise ValueError(f'model.preliminary_weight must be a finite number of at least 0, not {weight!r}')
    helpers = [name for name, task in tasks.items() if task.auxiliary]
    if helpers and not head.has_preliminary:
        raise ValueError(
            f'model.decode_head: a {type(head).__name__} has no preliminary predictions, so the tasks {helpers} cannot '
            'be auxiliary; remove auxiliary=True, or take another head, such as MTINetHead'
        )
    if weight != 1 and not head.has_preliminary:
        raise ValueError(
            f'model.preliminary_weight={weight:g}: a {type(head).__name__} has no preliminary predictions; leave it out'
        )
    if not weight and helpers:
        raise ValueError(
            f'model.preliminary_weight=0: the tasks {helpers} are auxiliary, so only preliminary predictions train them'
        )
