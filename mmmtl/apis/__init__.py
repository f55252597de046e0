"""Programming interface for users of trained models."""

from .inferencer import MultiTaskInferencer
from .optimize import optimize_for_inference, warm_up
from .video import VideoWriter, read_frames

__all__ = ['MultiTaskInferencer', 'VideoWriter', 'optimize_for_inference', 'read_frames', 'warm_up']
