"""Checks that losses and logits are finite, with the cause if they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from mmmtl.structures import MultiTaskDataSample


def check_total(total: Tensor, weighting: nn.Module) -> None:
    """Raise FloatingPointError if what a weighting makes of finite losses is not finite."""
    if not total.isfinite():
        raise FloatingPointError(
            f'{type(weighting).__name__} (model.weighting) makes a loss of {total.item()} from finite ones. Training '
            'stopped before the weights changed, and the last checkpoint is untouched. Lower the learning rate, or use '
            'another weighting.'
        )


def check_finite(losses: Mapping[str, Tensor], samples: Sequence[MultiTaskDataSample], model: nn.Module) -> None:
    """Raise FloatingPointError if a loss is not finite, with its name and the images of this process.

    Losses are means over all processes, so all of them raise it. If weights are not finite, the step before is to
    blame, and the message says so instead.
    """
    names, values = zip(*losses.items(), strict=True)
    # One transfer from the device for all losses.
    finite = torch.isfinite(torch.stack([value.detach().float().mean() for value in values])).tolist()
    if all(finite):
        return
    bad = [name for name, ok in zip(names, finite, strict=True) if not ok]
    paths = [sample.get('img_path', '?') for sample in samples]
    if broken := [name for name, weight in model.named_parameters() if not weight.isfinite().all()]:
        raise FloatingPointError(
            f'weights are not finite ({len(broken)}, the first is {broken[0]}), so {", ".join(bad)} is not either. The '
            'step before this one broke them, not its batch. The last checkpoint is untouched. Lower the learning '
            'rate, or resume from it with gradient clipping (optim_wrapper.clip_grad).'
        )
    others = ' on this process; the cause may be in that of another' if get_world_size() > 1 else ''
    raise FloatingPointError(
        f'{", ".join(bad)} is not finite; the batch was {paths}{others}. Training stopped before the weights '
        'changed, and the last checkpoint is untouched. Check these labels (tools/analysis_tools/browse_dataset.py), '
        'lower the learning rate, or resume from the last checkpoint with gradient clipping (optim_wrapper.clip_grad).'
    )


def check_logits(logits: Mapping[str, Tensor], images: Sequence[str]) -> None:
    """Raise FloatingPointError if logits (N, C, h, w) are not finite, with their tasks and images.

    Metrics would leave them out, and decoding turns them into classes. `images` holds the names of the rows.
    """
    # One transfer from the device for all tasks. A sum of finite logits is infinite only if they are huge.
    if torch.stack([tensor.sum(dtype=torch.float32) for tensor in logits.values()]).isfinite().all():
        return
    finite = {name: tensor.isfinite().flatten(1).all(1).tolist() for name, tensor in logits.items()}
    bad = [name for name, rows in finite.items() if not all(rows)]
    if bad:
        broken = [image for image, *rows in zip(images, *finite.values(), strict=True) if not all(rows)]
        raise FloatingPointError(
            f'the logits of {", ".join(bad)} are not finite (NaN or infinite); the images were {broken}. Take a '
            'checkpoint from before the training diverged, or, if the model runs in half precision, float32.'
        )
