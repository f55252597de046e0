"""Hooks of the runner."""

from mmmtl.checkpoint import check_tasks, check_weights, trained_tasks, weights_of

from .checkpoint_guard_hook import CheckpointGuardHook
from .context_search_hook import ContextSearchHook
from .epoch_position_hook import EpochPositionHook
from .iteration_seed_hook import IterationSeedHook
from .multi_task_visualization_hook import MultiTaskVisualizationHook
from .teacher_hook import TeacherHook

__all__ = [
    'CheckpointGuardHook',
    'ContextSearchHook',
    'EpochPositionHook',
    'IterationSeedHook',
    'MultiTaskVisualizationHook',
    'TeacherHook',
    'check_tasks',
    'check_weights',
    'trained_tasks',
    'weights_of',
]
