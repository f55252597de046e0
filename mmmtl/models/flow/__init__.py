"""Optical flow between two frames, for necks that warp."""

from .base import FlowEstimator
from .dis_flow import DISFlow
from .flownet_s import FlowNetS

__all__ = ['DISFlow', 'FlowEstimator', 'FlowNetS']
