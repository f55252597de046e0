"""Visualisation: panels of all tasks and curves of metrics."""

from .multi_task_visualizer import MultiTaskVisualizer
from .painter import Painter, frame_title
from .panels import Tile, grid

__all__ = ['MultiTaskVisualizer', 'Painter', 'Tile', 'frame_title', 'grid']
