"""MTI-Net's decoder and its feature propagation."""

from .fpm import FPM
from .head import MTINetHead

__all__ = ['FPM', 'MTINetHead']
