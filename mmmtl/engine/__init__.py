"""Engine: runners, loops, checkpoints, hooks and optimisers."""

from mmmtl.checkpoint import (
    AtomicLocalBackend,
    check_tasks,
    check_weights,
    find_checkpoint,
    load_from_local,
    trained_tasks,
    weights_of,
)

from .alternating_optim_wrapper import AlternatingOptimWrapperConstructor
from .build import build_runner, check_components
from .hooks import (
    CheckpointGuardHook,
    ContextSearchHook,
    EpochPositionHook,
    IterationSeedHook,
    MultiTaskVisualizationHook,
    TeacherHook,
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
