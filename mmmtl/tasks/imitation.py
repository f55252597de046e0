"""Losses of a student whose targets are a teacher's probabilities."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def imitate_classes(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)), averaged over the pixels.

    T^2 keeps the size of the gradients, which softer probabilities would divide by it.

    Args:
        student: logits (N, C, H, W).
        teacher: logits (N, C, H, W).
        temperature: T > 0; above 1 it shows more of what the teacher thinks of the less likely classes.

    Reference: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2; by pixel as in Liu et al.,
        Structured Knowledge Distillation for Semantic Segmentation, CVPR 2019, section 3.1.
    """
    log_student, log_teacher = ((logits / temperature).log_softmax(dim=1) for logits in (student, teacher))
    divergence = F.kl_div(log_student, log_teacher, reduction='none', log_target=True).sum(dim=1)
    return temperature**2 * divergence.mean()


def imitate_binary(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """`imitate_classes` of one logit x for two classes of probability sigmoid(x) and 1 - sigmoid(x).

    Args:
        student: logits (N, 1, H, W).
        teacher: logits (N, 1, H, W).
        temperature: T > 0.
    """
    student, teacher = student / temperature, teacher / temperature
    # The cross-entropy with the teacher's probabilities, less its value where both agree.
    target = teacher.sigmoid()
    excess = F.softplus(student) - F.softplus(teacher) - target * (student - teacher)
    return temperature**2 * excess.mean()
