"""The model inside what wraps it for several processes."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, out of its wrappers."""
    while is_model_wrapper(model):
        model = model.get_submodule('module')
    return model
