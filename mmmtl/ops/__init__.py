"""Operators: pure functions on tensors, each with several interchangeable implementations."""

from .local_attention import available_backends, local_attention

__all__ = ['available_backends', 'local_attention']
