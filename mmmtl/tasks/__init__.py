"""Tasks: each kind of dense prediction with its loss, decoding, metrics and picture."""

from .base import Task
from .depth import DepthEstimation, DisparityEstimation
from .normals import SurfaceNormals
from .resolve import build_tasks, dataset_configs, metric_direction, resolve_tasks
from .semantic_segmentation import SemanticSegmentation

__all__ = [
    'DepthEstimation',
    'DisparityEstimation',
    'SemanticSegmentation',
    'SurfaceNormals',
    'Task',
    'build_tasks',
    'dataset_configs',
    'metric_direction',
    'resolve_tasks',
]
