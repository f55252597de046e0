"""Engine: runner, loops, hooks, optimisers, and the checkpoints of a run."""

from mmmtl.config.components import check_components

from .alternating_optim_wrapper import AlternatingOptimWrapperConstructor
from .amp_optim_wrapper import AmpOptimWrapper
from .build import build_runner
from .checkpoint_files import AtomicLocalBackend, find_checkpoint
from .hooks import (
    AccumulationHook,
    CheckpointGuardHook,
    CheckpointHook,
    EpochPositionHook,
    ExtremeSamplesHook,
    IterationSeedHook,
    LabelCheckHook,
    MapWriterHook,
    ModelHook,
    MultiTaskVisualizationHook,
    PlainCheckpointHook,
    ResumeHook,
    SameBuffersHook,
    SummaryHook,
)
from .schedule_length import change_length
from .stream_test_loop import StreamTestLoop

__all__ = [
    'AccumulationHook',
    'AlternatingOptimWrapperConstructor',
    'AmpOptimWrapper',
    'AtomicLocalBackend',
    'CheckpointGuardHook',
    'CheckpointHook',
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
    'StreamTestLoop',
    'SummaryHook',
    'build_runner',
    'change_length',
    'check_components',
    'find_checkpoint',
]
