"""Configs: loading, checking, and handing the declared tasks to every part that needs them."""

from .loading import CONFIG_SUFFIXES, load_config
from .resolving import LOADERS, dataset_configs, input_size, resolve

__all__ = ['CONFIG_SUFFIXES', 'LOADERS', 'dataset_configs', 'input_size', 'load_config', 'resolve']
