"""Data structures: arrays, the data sample, the camera change of an augmentation, and the state of streams."""

from .array import Array
from .camera_change import CameraChange
from .multi_task_data_sample import MultiTaskDataSample
from .stream_state import FrameResult, Logits, Memory, StreamState

__all__ = ['Array', 'CameraChange', 'FrameResult', 'Logits', 'Memory', 'MultiTaskDataSample', 'StreamState']
