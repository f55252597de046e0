"""Losses that belong to no task."""

from .adversarial_align import AdversarialAlignLoss, reverse_gradient

__all__ = ['AdversarialAlignLoss', 'reverse_gradient']
