"""The labels of a batch, and the checks of what a head and the tasks' losses return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from mmmtl.models.data_preprocessor import pad
from mmmtl.models.decode_heads import HeadOutput
from mmmtl.models.weighting.base import task_of
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import Task, main_tasks


def check_output(head: str, output: object, tasks: Mapping[str, Task]) -> None:
    """Refuse an output that is no `HeadOutput`, lacks logits of a task, or names an unknown task elsewhere."""
    if not isinstance(output, HeadOutput):
        raise ValueError(f'{head}.forward must return a HeadOutput, not {type(output).__name__}')
    if missing := [name for name in main_tasks(tasks) if name not in output.logits]:
        raise ValueError(f'{head}.forward returned no logits of {", ".join(missing)}')
    for prefix, maps in {**output.predictions(), 'label_space.': output.label_space}.items():
        if prefix and (unknown := sorted(maps.keys() - tasks.keys())):
            raise ValueError(
                f'{head}.forward returned {prefix}{unknown[0]}, on which nothing would train; the tasks are {[*tasks]}'
            )


def check_rows(head: str, logits: Mapping[str, Tensor], rows: int) -> None:
    """Refuse logits (N, C, h, w) whose number of images is not the batch's, as losses may broadcast them."""
    for name, tensor in logits.items():
        if tensor.ndim != 4 or len(tensor) != rows:
            raise ValueError(
                f'{head}.forward returned {tuple(tensor.shape)} for {name!r}; it must return (N, C, h, w), and N is '
                f'{rows} here'
            )


def check_map(task: Task, found: Tensor, size: tuple[int, ...]) -> None:
    """Refuse the result of `Task.decode` for one image unless it is (1, M, H, W), where `size` is (H, W)."""
    if found.shape != (1, task.map_channels, *size):
        raise ValueError(
            f'{type(task).__name__}.decode returned {tuple(found.shape)} for {task.name!r}; it must return (N, '
            f'{task.map_channels}, H, W), here {(1, task.map_channels, *size)}'
        )


def join_losses(head: str, losses: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the losses of the tasks and a head's own; refuse names that both have."""
    if twice := sorted(losses.keys() & own.keys()):
        raise ValueError(f'{head}.forward returned losses {twice}, which are names of losses of tasks; rename them')
    return {**losses, **own}


def without_unlabelled(losses: Mapping[str, Tensor], tasks: Iterable[str]) -> dict[str, Tensor]:
    """Return the losses without those of a prediction, or of the alignment, that are all exactly 0, as without labels.

    So the log averages a prediction over the last steps that had labels for it. One with weight 0 is not logged.
    """
    # One transfer from the device for all losses.
    sizes = torch.stack([value.detach().float() for value in losses.values()]).tolist()
    found = {name.rpartition('.')[0] for name, size in zip(losses, sizes, strict=True) if size}
    supervised = {*tasks, 'align'}
    return {
        name: value
        for name, value in losses.items()
        if name.rpartition('.')[0] in found or task_of(name) not in supervised
    }


def check_channels(head: str, task: Task, logits: Tensor, expected: int) -> None:
    """Refuse logits (N, C, h, w) whose channels differ from a task's: losses may broadcast them, or leave some out."""
    if logits.shape[1] != expected:
        raise ValueError(
            f'{head}.forward returned {logits.shape[1]} channels for {task.name!r}; '
            f'{type(task).__name__} has {expected}'
        )


def weigh(prefix: str, task: Task, losses: Mapping[str, Tensor], weight: float, *, trains: bool) -> dict[str, Tensor]:
    """Return the losses of a task by their full names, times `weight`; `trains` says if logits have a graph.

    Raises:
        ValueError: a name does not begin with 'loss_', so that mmengine would not add the loss, or a loss is a map or,
            unless it is 0, has no graph.
    """
    method = f'{type(task).__name__}.loss'
    if not isinstance(losses, Mapping):
        raise ValueError(f'{method} must return {{name: loss}}, not {type(losses).__name__}')
    for kind, value in losses.items():
        if not kind.startswith('loss_'):
            raise ValueError(f'{method} returned {kind!r}; the name must begin with "loss_", or nothing trains on it')
        if not isinstance(value, Tensor) or value.ndim:
            found = f'a tensor {tuple(value.shape)}' if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f'{method} returned {found} as {kind!r}; it must be the mean, a tensor without dimensions')
        if trains and not value.requires_grad and value != 0:
            raise ValueError(
                f'{method} returned {kind!r} without a graph, so nothing trains on it; compute it from the logits, '
                'without detach, item or NumPy'
            )
    return {f'{prefix}{task.name}.{kind}': weight * value for kind, value in losses.items()}


def stack_targets(task: Task, samples: Sequence[MultiTaskDataSample], device: torch.device) -> Tensor:
    """Return a task's labels (N, M, H, W) of a batch, padded; samples without a label are all `fill`."""
    size = samples[0].get('padded_shape', samples[0].img_shape)
    blank = torch.full((task.map_channels, *size), task.fill, dtype=task.dtype, device=device)
    targets = []
    for sample in samples:
        label = sample.gt.get(task.name)
        if label is not None and tuple(label.shape[-2:]) != tuple(sample.img_shape):
            raise ValueError(
                f'{sample.get("img_path", "?")}: the label of task {task.name!r} has {tuple(label.shape[-2:])} pixels, '
                f'its image {tuple(sample.img_shape)} (height, width); if only the image was resized, remove '
                'Resize(maps=False) from the training pipeline'
            )
        targets.append(blank if label is None else pad(label, size, task.fill))
    return torch.stack(targets)
