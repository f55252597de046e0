"""Weights whose `lr_mult` is 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def frozen_weights(model: nn.Module, paramwise_cfg: Mapping[str, Any] | None) -> list[nn.Parameter]:
    """Return the weights whose `lr_mult` is 0; as in mmengine, the longest of the `custom_keys` in a name applies."""
    custom = (paramwise_cfg or {}).get('custom_keys') or {}
    frozen = []
    for name, weight in model.named_parameters():
        keys = sorted(key for key in custom if key in name)
        if keys and custom[max(keys, key=len)].get('lr_mult') == 0:
            frozen.append(weight)
    return frozen
