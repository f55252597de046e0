"""Models: preprocessor, backbones, optical flow, necks, heads, losses and the segmentors that join them."""

from . import backbones, decode_heads, flow, layers, losses, necks, pretrained, weighting
from .data_preprocessor import MultiTaskDataPreprocessor
from .segmentors import MultiTaskSegmentor, StudentSegmentor, VideoMultiTaskSegmentor

__all__ = [
    'StudentSegmentor',
    'MultiTaskDataPreprocessor',
    'MultiTaskSegmentor',
    'VideoMultiTaskSegmentor',
    'backbones',
    'decode_heads',
    'flow',
    'layers',
    'losses',
    'necks',
    'pretrained',
    'weighting',
]
