"""Models: preprocessor, backbones, necks, heads, losses and the segmentors that join them."""

from . import backbones, decode_heads, layers, losses, necks
from .data_preprocessor import MultiTaskDataPreprocessor
from .segmentors import MultiTaskSegmentor, VideoMultiTaskSegmentor

__all__ = [
    'MultiTaskDataPreprocessor',
    'MultiTaskSegmentor',
    'VideoMultiTaskSegmentor',
    'backbones',
    'decode_heads',
    'layers',
    'losses',
    'necks',
]
