"""Engine: runner, loops, hooks, optimisers, and the checkpoints of a run."""

from mmmtl.config.components import check_components

from . import hooks
from .alternating_optim_wrapper import AlternatingOptimWrapperConstructor
from .amp_optim_wrapper import AmpOptimWrapper
from .build import build_runner
from .checkpoint_files import AtomicLocalBackend, find_checkpoint
from .hooks import *  # noqa: F403
from .schedule_length import change_length
from .stream_test_loop import StreamTestLoop

__all__ = [
    'AlternatingOptimWrapperConstructor',
    'AmpOptimWrapper',
    'AtomicLocalBackend',
    'StreamTestLoop',
    'build_runner',
    'change_length',
    'check_components',
    'find_checkpoint',
]
__all__ += hooks.__all__
