"""Visualisation: panels of all tasks and curves of metrics."""

from .multi_task_visualizer import MultiTaskVisualizer
from .panels import add_banner, grid, task_tiles

__all__ = ['MultiTaskVisualizer', 'add_banner', 'grid', 'task_tiles']
