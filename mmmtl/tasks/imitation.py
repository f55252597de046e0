"""Distillation losses: a student learns a teacher's probabilities."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .reduction import mean


def imitate_classes(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return T^2 * KL(softmax(teacher / T) || softmax(student / T)) of logits (N, C, H, W), averaged over the pixels.

    A temperature T > 1 gives the less likely classes more influence. It divides the gradients by T^2, so the factor
    T^2 restores their size.

    Reference: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2; by pixel as in Liu et al.,
    Structured Knowledge Distillation for Semantic Segmentation, CVPR 2019, section 3.1.
    """
    log_student, log_teacher = ((logits / temperature).log_softmax(dim=1) for logits in (student, teacher))
    divergence = F.kl_div(log_student, log_teacher, reduction='none', log_target=True).sum(dim=1)
    return temperature**2 * mean(divergence)


def imitate_binary(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return `imitate_classes` of two classes with probabilities sigmoid(x) and 1 - sigmoid(x), x of (N, 1, H, W)."""
    student, teacher = student / temperature, teacher / temperature
    # The cross-entropy with the teacher's probabilities, minus its value where both agree.
    target = teacher.sigmoid()
    excess = F.softplus(student) - F.softplus(teacher) - target * (student - teacher)
    return temperature**2 * mean(excess)
