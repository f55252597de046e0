"""Optical flow between two frames, for necks that warp."""

from .base import FlowEstimator
from .dis_flow import LUMA, DISFlow
from .flownet_s import FlowNetS

__all__ = ['LUMA', 'DISFlow', 'FlowEstimator', 'FlowNetS']
