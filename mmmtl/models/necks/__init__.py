"""Necks: task-specific features, and their propagation between frames."""

from .ila import ILANeck
from .propagating_neck import PropagatingNeck
from .self_attention import SelfAttentionNeck
from .squeeze_excitation import SqueezeExcitation, TaskSqueezeExcitation

__all__ = ['ILANeck', 'PropagatingNeck', 'SelfAttentionNeck', 'SqueezeExcitation', 'TaskSqueezeExcitation']
