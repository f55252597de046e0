"""Weightings: how the losses of the tasks, or their gradients, become one step."""

from .aggregation import IMTLG, MGDA, AlignedMTL, CAGrad, NashMTL, PCGrad, UPGrad
from .base import GradientWeighting, LossWeighting, Objectives, Weighting
from .losses import DWA, FAMO, IMTLL, FixedWeighting, GeometricMean, RandomWeighting, UncertaintyWeighting

__all__ = [
    'AlignedMTL',
    'CAGrad',
    'DWA',
    'FAMO',
    'FixedWeighting',
    'GeometricMean',
    'GradientWeighting',
    'IMTLG',
    'IMTLL',
    'LossWeighting',
    'MGDA',
    'NashMTL',
    'Objectives',
    'PCGrad',
    'RandomWeighting',
    'UPGrad',
    'UncertaintyWeighting',
    'Weighting',
]
