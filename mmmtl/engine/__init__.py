"""Engine: runner, loops, hooks, optimisers, and the checkpoints of a run."""

from .alternating_optim_wrapper import AlternatingOptimWrapperConstructor
from .build import build_runner, check_components
from .checkpoints import AtomicLocalBackend, find_checkpoint
from .hooks import (
    CheckpointGuardHook,
    EpochPositionHook,
    IterationSeedHook,
    ModelHook,
    MultiTaskVisualizationHook,
    PlainCheckpointHook,
    SameBuffersHook,
    SummaryHook,
)
from .stream_test_loop import StreamTestLoop

__all__ = [
    'AlternatingOptimWrapperConstructor',
    'AtomicLocalBackend',
    'CheckpointGuardHook',
    'EpochPositionHook',
    'IterationSeedHook',
    'ModelHook',
    'MultiTaskVisualizationHook',
    'PlainCheckpointHook',
    'SameBuffersHook',
    'StreamTestLoop',
    'SummaryHook',
    'build_runner',
    'check_components',
    'find_checkpoint',
]
