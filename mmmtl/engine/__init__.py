"""Engine: runners, loops, checkpoints, hooks and optimisers."""

from .alternating_optim_wrapper import AlternatingOptimWrapperConstructor
from .build import build_runner, check_components
from .checkpoint import AtomicLocalBackend, find_checkpoint, load_from_local
from .hooks import (
    CheckpointGuardHook,
    ContextSearchHook,
    EpochPositionHook,
    IterationSeedHook,
    MultiTaskVisualizationHook,
    TeacherHook,
    check_tasks,
    check_weights,
    trained_tasks,
    weights_of,
)
from .stream_test_loop import StreamTestLoop

__all__ = [
    'AlternatingOptimWrapperConstructor',
    'AtomicLocalBackend',
    'CheckpointGuardHook',
    'ContextSearchHook',
    'EpochPositionHook',
    'IterationSeedHook',
    'MultiTaskVisualizationHook',
    'StreamTestLoop',
    'TeacherHook',
    'build_runner',
    'check_components',
    'check_tasks',
    'check_weights',
    'find_checkpoint',
    'load_from_local',
    'trained_tasks',
    'weights_of',
]
