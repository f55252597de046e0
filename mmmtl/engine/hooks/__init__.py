"""Hooks of the runner."""

from .checkpoint_guard_hook import CheckpointGuardHook, PlainCheckpointHook
from .epoch_position_hook import EpochPositionHook
from .iteration_seed_hook import IterationSeedHook
from .label_check_hook import LabelCheckHook
from .model_hook import ModelHook
from .multi_task_visualization_hook import MultiTaskVisualizationHook
from .same_buffers_hook import SameBuffersHook
from .summary_hook import SummaryHook

__all__ = [
    'CheckpointGuardHook',
    'EpochPositionHook',
    'IterationSeedHook',
    'LabelCheckHook',
    'ModelHook',
    'MultiTaskVisualizationHook',
    'PlainCheckpointHook',
    'SameBuffersHook',
    'SummaryHook',
]
