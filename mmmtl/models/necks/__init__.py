"""Necks: task-specific features, and their propagation between frames."""

from .ila import ILANeck
from .squeeze_excitation import SqueezeExcitation, TaskSqueezeExcitation

__all__ = ['ILANeck', 'SqueezeExcitation', 'TaskSqueezeExcitation']
