"""Hooks of the runner."""

from .accumulation_hook import AccumulationHook
from .checkpoint_guard_hook import CheckpointGuardHook, PlainCheckpointHook
from .checkpoint_hook import CheckpointHook
from .early_stopping_hook import EarlyStoppingHook
from .epoch_position_hook import EpochPositionHook
from .extreme_samples_hook import ExtremeSamplesHook
from .iteration_seed_hook import IterationSeedHook
from .label_check_hook import LabelCheckHook
from .map_writer_hook import MapWriterHook
from .model_hook import ModelHook
from .multi_task_visualization_hook import MultiTaskVisualizationHook
from .resume_hook import ResumeHook
from .same_buffers_hook import SameBuffersHook
from .summary_hook import SummaryHook

__all__ = [
    'AccumulationHook',
    'CheckpointGuardHook',
    'CheckpointHook',
    'EarlyStoppingHook',
    'EpochPositionHook',
    'ExtremeSamplesHook',
    'IterationSeedHook',
    'LabelCheckHook',
    'MapWriterHook',
    'ModelHook',
    'MultiTaskVisualizationHook',
    'PlainCheckpointHook',
    'ResumeHook',
    'SameBuffersHook',
    'SummaryHook',
]
