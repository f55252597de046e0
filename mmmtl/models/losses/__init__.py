"""Losses that belong to no task."""

from .adversarial_align import AdversarialAlignLoss, reverse_gradient
from .distillation import DistillationLoss

__all__ = ['AdversarialAlignLoss', 'DistillationLoss', 'reverse_gradient']
