"""Losses that belong to no task."""

from .adversarial_align import AdversarialAlignLoss, AlignLosses, reverse_gradient
from .distillation import DistillationLoss

__all__ = ['AdversarialAlignLoss', 'AlignLosses', 'DistillationLoss', 'reverse_gradient']
