"""Initial weights from a file: what does not fit is named, and what the file says of its network is checked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import accumulate
from operator import mul
from typing import Any

from mmengine.model import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from torch import nn

from mmmtl.checkpoint import part_of, unfit_weights, wanted_weights
from mmmtl.io.checkpoints import some_names


@WEIGHT_INITIALIZERS.register_module('Pretrained', force=True)
class CheckedPretrainedInit(PretrainedInit):
    """mmengine's `init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)`, which silently ignores mismatches.

    A warning names weights that keep their random values because the file lacks them or has other shapes. If these are
    most of the weights, the file belongs to another network and is refused. Surplus weights, such as those of a
    classifier, are ignored.

    A file {'state_dict': weights, 'meta': {'backbone': facts}} says how the network was built. The facts in `FACTS` are
    compared with the network; a warning names those that it cannot be asked for.
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the weights into a module.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is damaged, would run code, belongs to another network, or contradicts this one.
        """
        checkpoint = CheckpointLoader.load_checkpoint(self.checkpoint, map_location=self.map_location)
        name = f'{self.checkpoint} (init_cfg of {type(module).__name__})'
        check_facts(checkpoint, module, name)
        weights = part_of(checkpoint, module, f'{self.prefix.removesuffix(".")}.' if self.prefix else '')
        unfit, count = unfit_weights(module, weights), len(wanted_weights(module))
        other = [key for key in unfit if key in weights]
        own = module.state_dict().keys()
        surplus = [key for key in weights if key not in own]
        if unfit:
            missing = [key for key in unfit if key not in weights]
            parts = (('missing', missing), ('of another shape', other), ('surplus in the file', surplus))
            told = '; '.join(f'{len(keys)} {what} ({some_names(keys)})' for what, keys in parts if keys)
            text = f'{name}: of {count} weights, {len(unfit)} keep their random values: {told}'
            if 2 * len(unfit) > count:
                raise ValueError(f'{text}. It is of another network, or needs another prefix (now {self.prefix!r})')
            warnings.warn(text, stacklevel=2)
        module.load_state_dict({key: weights[key] for key in weights if key not in {*other, *surplus}}, strict=False)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())


def check_facts(checkpoint: Mapping[str, Any], module: nn.Module, name: str) -> None:
    """Refuse a weights file whose `meta.backbone` contradicts a network."""
    meta = checkpoint.get('meta')
    facts = meta.get('backbone') if isinstance(meta, Mapping) else None
    if facts is None:
        return
    if not isinstance(facts, Mapping) or not facts.keys() <= FACTS.keys():
        raise ValueError(f'{name}: its meta.backbone must be a dict with some of {sorted(FACTS)}, not {facts!r}')
    for key, value in facts.items():
        trained, own = _plain(value), _plain(FACTS[key](module))
        if own is None:
            warnings.warn(
                f'{name}: was trained with {key}={trained!r}; this network does not tell its own', stacklevel=3
            )
        elif own != trained:
            raise ValueError(
                f'{name}: was trained with {key}={trained!r}, the network has {own!r}; set it in the config'
            )


def _epsilon(module: nn.Module) -> Any:
    found = {part.eps for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)}
    return found.pop() if len(found) == 1 else sorted(found) or None


def _strides(module: nn.Module) -> Any:
    """Return the strides that the stages had in training: a stage may dilate instead."""
    strides, dilations = getattr(module, 'strides', None), getattr(module, 'dilations', None)
    if strides is None or dilations is None:
        return None
    reached = [stride * dilation for stride, dilation in zip(accumulate(strides, mul), dilations, strict=True)]
    return [now / before for now, before in zip(reached, [1, *reached], strict=False)]


def _attribute(name: str) -> Callable[[nn.Module], Any]:
    return lambda module: getattr(module, name, None)


FACTS: dict[str, Callable[[nn.Module], Any]] = {
    'eps': _epsilon,
    'strides': _strides,
    **{name: _attribute(name) for name in ('depth', 'style', 'deep_stem', 'avg_down', 'widen_factor')},
}
"""What a weights file may say of its network: {name: how to find it in a network, None if it has no such thing}."""


def _plain(value: Any) -> Any:
    return [float(item) for item in value] if isinstance(value, (list, tuple)) else value
