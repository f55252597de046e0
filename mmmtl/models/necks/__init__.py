"""Necks: task-specific features, and their propagation between frames."""

from .concat import ConcatNeck, NoPropagationNeck
from .flow_warp import FlowWarpNeck
from .ila import ILANeck
from .propagating_neck import PropagatingNeck
from .self_attention import SelfAttentionNeck
from .squeeze_excitation import TaskSqueezeExcitation
from .svc import SVCNeck

__all__ = [
    'ConcatNeck',
    'FlowWarpNeck',
    'ILANeck',
    'NoPropagationNeck',
    'PropagatingNeck',
    'SVCNeck',
    'SelfAttentionNeck',
    'TaskSqueezeExcitation',
]
