"""Models inside the wrappers for several processes."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """Return a model without its wrappers."""
    while is_model_wrapper(model):
        model = model.get_submodule('module')
    return model
