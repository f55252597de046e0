"""The targets that the losses of a batch compare with, and the check that the losses are finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmmtl.models.data_preprocessor import pad
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import Task

Samples = Sequence[MultiTaskDataSample]


def stack_targets(task: Task, samples: Samples, device: torch.device) -> Tensor:
    """Return a task's labels (N, M, H, W) of a batch, padded; samples without one are all `fill`.

    Raises:
        ValueError: a label has not the size of its picture.
    """
    size = samples[0].get('padded_shape', samples[0].img_shape)
    blank = torch.full((task.map_channels, *size), task.fill, dtype=task.dtype, device=device)
    targets = []
    for sample in samples:
        label = sample.gt.get(task.name)
        if label is not None and tuple(label.shape[-2:]) != tuple(sample.img_shape):
            raise ValueError(
                f'{sample.get("img_path", "?")}: the label of task {task.name!r} has {tuple(label.shape[-2:])} pixels, '
                f'its picture {tuple(sample.img_shape)} (height, width); was the picture resized and its maps not '
                '(Resize(maps=False) in a training pipeline)?'
            )
        targets.append(blank if label is None else pad(label, size, task.fill))
    return torch.stack(targets)


def check_finite(losses: Mapping[str, Tensor], samples: Samples) -> None:
    """Raise FloatingPointError naming what is not finite, and the pictures of the batch."""
    names, values = zip(*losses.items(), strict=True)
    # One transfer from the device for all losses.
    finite = torch.isfinite(torch.stack([value.detach().float().mean() for value in values])).tolist()
    if all(finite):
        return
    bad = [name for name, ok in zip(names, finite, strict=True) if not ok]
    paths = [sample.get('img_path', '?') for sample in samples]
    raise FloatingPointError(
        f'{", ".join(bad)} is not finite; the batch was {paths}. Training stopped before the weights changed, and the '
        'last checkpoint is untouched. Look at these labels (tools/analysis_tools/browse_dataset.py), lower the '
        'learning rate, or resume from the last checkpoint with gradient clipping (optim_wrapper.clip_grad).'
    )
