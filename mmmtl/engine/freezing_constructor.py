"""Frozen weights: those whose `lr_mult` is 0 get no gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor as PlainConstructor
from mmengine.optim import OptimWrapper
from torch import nn

from mmmtl.registry import OPTIM_WRAPPER_CONSTRUCTORS


def frozen_weights(model: nn.Module, paramwise_cfg: Mapping[str, Any] | None) -> list[nn.Parameter]:
    """Return the weights whose `lr_mult` is 0; as in mmengine, the longest of the `custom_keys` in a name applies."""
    custom = (paramwise_cfg or {}).get('custom_keys') or {}
    frozen = []
    for name, weight in model.named_parameters():
        keys = sorted(key for key in custom if key in name)
        if keys and custom[max(keys, key=len)].get('lr_mult') == 0:
            frozen.append(weight)
    return frozen


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DefaultOptimWrapperConstructor(PlainConstructor):
    """mmengine's constructor of this name, which in the scope of mmmtl freezes the weights whose `lr_mult` is 0.

    The optimizer keeps them, without a state, so the states of runs that did not freeze them fit.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        frozen = frozen_weights(model, self.paramwise_cfg)
        for weight in frozen:
            weight.requires_grad_(True)  # mmengine leaves out the others
        wrapper: OptimWrapper = super().__call__(model)
        for weight in frozen:
            weight.requires_grad_(False)
        return wrapper
