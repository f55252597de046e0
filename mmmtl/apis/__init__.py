"""Programming interface for users of trained models."""

from .inferencer import MultiTaskInferencer
from .video import VideoWriter, read_frames

__all__ = ['MultiTaskInferencer', 'VideoWriter', 'read_frames']
