"""What passes between the rooms: the data sample, the camera change of an augmentation, the state of a stream."""

from .camera_change import CameraChange
from .multi_task_data_sample import MultiTaskDataSample
from .stream_state import Memory, StreamState

__all__ = ['CameraChange', 'Memory', 'MultiTaskDataSample', 'StreamState']
