"""The pipeline's transforms; each random one draws from `results['rng']`, once for all frames and maps."""

from .formatting import PackMultiTaskInputs, to_tensor
from .geometric import GeometricTransform, RandomCrop, RandomFlip, RandomRotate, RandomScale, RandomZoom, Resize
from .loading import LoadFrames, LoadMaps
from .photometric import ColorJitter
from .still_to_clip import StillToClip

__all__ = [
    'ColorJitter',
    'GeometricTransform',
    'LoadFrames',
    'LoadMaps',
    'PackMultiTaskInputs',
    'RandomCrop',
    'RandomFlip',
    'RandomRotate',
    'RandomScale',
    'RandomZoom',
    'Resize',
    'StillToClip',
    'to_tensor',
]
