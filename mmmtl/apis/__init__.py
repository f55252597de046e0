"""Programming interface to trained models."""

from mmmtl.io.video import VideoReader, VideoWriter, read_frames

from .inferencer import MultiTaskInferencer
from .optimize import optimize_for_inference, warm_up

__all__ = [
    'MultiTaskInferencer',
    'VideoReader',
    'VideoWriter',
    'optimize_for_inference',
    'read_frames',
    'warm_up',
]
