"""Tasks: each kind of dense prediction with its losses, decoding, metrics and drawing."""

from .base import Task
from .build import build_tasks, main_tasks, metric_direction, metric_directions
from .depth import DepthEstimation
from .disparity import DisparityEstimation
from .edges import EdgeDetection
from .normals import SurfaceNormals
from .reduction import masked_mean, sum_over_processes
from .saliency import SaliencyDetection
from .semantic_segmentation import SemanticSegmentation

__all__ = [
    'DepthEstimation',
    'DisparityEstimation',
    'EdgeDetection',
    'SaliencyDetection',
    'SemanticSegmentation',
    'SurfaceNormals',
    'Task',
    'build_tasks',
    'main_tasks',
    'masked_mean',
    'metric_direction',
    'metric_directions',
    'sum_over_processes',
]
