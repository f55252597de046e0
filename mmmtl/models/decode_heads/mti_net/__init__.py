"""MTI-Net's parts of a decoder."""

from .fpm import FPM
from .spatial_attention import SpatialAttentionDistillation

__all__ = ['FPM', 'SpatialAttentionDistillation']
