"""Segmentors: the whole models, for images and for video."""

from .key_frame_policy import CostBudget, FixedInterval, FrameChange, KeyFramePolicy
from .multi_task_segmentor import MultiTaskSegmentor
from .student_segmentor import StudentSegmentor
from .video_multi_task_segmentor import VideoMultiTaskSegmentor

__all__ = [
    'CostBudget',
    'StudentSegmentor',
    'FixedInterval',
    'FrameChange',
    'KeyFramePolicy',
    'MultiTaskSegmentor',
    'VideoMultiTaskSegmentor',
]
