"""Local attention between two frames: the public function, its backends and their selection."""

from .dispatch import available_backends, missing_backends
from .functional import local_attention

__all__ = ['available_backends', 'local_attention', 'missing_backends']
