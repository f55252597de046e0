"""Configs: loading, checking, and handing the declared tasks to every part that needs them."""

from .loading import load_config
from .resolving import LOADERS, dataset_configs, input_size, resolve

__all__ = ['LOADERS', 'dataset_configs', 'input_size', 'load_config', 'resolve']
