"""Engine: runners, checkpoints, hooks and optimisers."""

from .alternating_optim_wrapper import AlternatingOptimWrapperConstructor
from .build import build_runner, check_components
from .checkpoint import AtomicLocalBackend, find_checkpoint, load_from_local
from .hooks import CheckpointGuardHook, IterationSeedHook, MultiTaskVisualizationHook, check_tasks

__all__ = [
    'AlternatingOptimWrapperConstructor',
    'AtomicLocalBackend',
    'CheckpointGuardHook',
    'IterationSeedHook',
    'MultiTaskVisualizationHook',
    'build_runner',
    'check_components',
    'check_tasks',
    'find_checkpoint',
    'load_from_local',
]
