"""Hooks of the runner."""

from .checkpoint_guard_hook import CheckpointGuardHook, check_tasks
from .iteration_seed_hook import IterationSeedHook
from .multi_task_visualization_hook import MultiTaskVisualizationHook

__all__ = ['CheckpointGuardHook', 'IterationSeedHook', 'MultiTaskVisualizationHook', 'check_tasks']
