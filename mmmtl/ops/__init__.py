"""Operators: pure functions on tensors."""

from .local_attention import available_backends, local_attention
from .spatially_variant_conv import spatially_variant_conv
from .warp import resize_flow, warp

__all__ = ['available_backends', 'local_attention', 'resize_flow', 'spatially_variant_conv', 'warp']
