"""Programming interface to trained models."""

from mmmtl.io.video import VideoReader, VideoWriter, read_frames

from .inferencer import MultiTaskInferencer
from .model_zoo import list_models, zoo_weights
from .optimize import optimize_for_inference, warm_up
from .streaming import StreamRunner

__all__ = [
    'MultiTaskInferencer',
    'StreamRunner',
    'VideoReader',
    'VideoWriter',
    'list_models',
    'optimize_for_inference',
    'read_frames',
    'warm_up',
    'zoo_weights',
]
