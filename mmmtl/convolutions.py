"""Strides and dilations of a model: what the names and shapes of its weights do not tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

KEY = 'convolutions'
"""Where `meta` of a checkpoint holds what `geometry` returns."""

LOST_STRIDE = 'lost_stride'
"""The attribute of a convolution whose stride an `output_stride` took away."""

MODEL = re.compile(r'^model\s*=.*?(?=^\w+\s*=|\Z)', re.MULTILINE | re.DOTALL)
DILATIONS = re.compile(r"""\bdilations['"]?\s*[=:]\s*[(\[]([\d,\s]*)[)\]]""")
OUTPUT_STRIDE = re.compile(r"""\boutput_stride['"]?\s*[=:]""")


def geometry(model: nn.Module) -> dict[str, list[int]]:
    """Return {name of a convolution: [vertical stride, horizontal stride, vertical dilation, horizontal dilation]}.

    The dilation of a kernel of one pixel changes nothing and counts as 1.
    """
    return {
        name: [
            *map(int, module.stride),
            *(
                int(dilation) if size > 1 else 1
                for size, dilation in zip(module.kernel_size, module.dilation, strict=True)
            ),
        ]
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    }


def check_geometry(model: nn.Module, meta: Any, *, prefix: str = '', weights: Iterable[str]) -> None:
    """Refuse weights that were trained with other dilations; they fit, and would predict something else.

    A finer or coarser map is not such a case: strides differ then, and `set_output_stride` dilates so that weights keep
    their meaning. Checkpoints of version 0.1 hold no dilations but the text of their config. It is searched, not run.

    Args:
        model: the model, or a part of it.
        meta: `meta` of the checkpoint.
        prefix: prefix of the part in the checkpoint.
        weights: names of the weights that the model would get.

    Raises:
        ValueError: other dilations, or something else in their place in the checkpoint.
    """
    if not isinstance(meta, Mapping):
        return
    trained = meta.get(KEY)
    if trained is None:
        _check_text(model, meta.get('cfg'))
        return
    if not isinstance(trained, Mapping) or not all(_is_geometry(value) for value in trained.values()):
        raise ValueError(f"the checkpoint's meta.{KEY} must be {{name: [strides, dilations]}}")
    loaded = set(weights)
    pairs = {
        name: (list(trained[prefix + name]), mine)
        for name, mine in geometry(model).items()
        if prefix + name in trained and f'{name}.weight' in loaded
    }
    differing = [name for name, (theirs, mine) in pairs.items() if theirs[2:] != mine[2:]]
    if differing and all(theirs[:2] == mine[:2] for theirs, mine in pairs.values()):
        theirs, mine = pairs[differing[0]]
        raise ValueError(
            f'the checkpoint was trained with other dilations: {len(differing)} of {len(pairs)} convolutions differ '
            f'({differing[0]}: {theirs[2:]}, the model has {mine[2:]}). Its weights would predict something else here; '
            'use the config that it was trained with'
        )


def _is_geometry(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(type(number) is int for number in value)


def _check_text(model: nn.Module, text: Any) -> None:
    # Other variables of a config may say what its model does not use.
    described = MODEL.search(text) if isinstance(text, str) else None
    if described is None or OUTPUT_STRIDE.search(described[0]):
        return
    found = [
        numbers for numbers in DILATIONS.findall(described[0]) if any(int(n) > 1 for n in re.findall(r'\d+', numbers))
    ]
    # mmseg dilates kernels that lose their stride; those of 1x1 have nothing to dilate.
    changed = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and getattr(module, LOST_STRIDE, False) and max(module.kernel_size) > 1
    ]
    if found and changed:
        listed = re.sub(r'\s', '', found[0]).strip(',')[:60]
        raise ValueError(
            f"the checkpoint was trained with mmseg's dilations ({listed}), which the model's output_stride does not "
            f'reproduce ({changed[0]}, ...). Its weights would predict something else here; use the config that it was '
            "trained with. That config has type='mmseg.ResNet' or 'mmseg.MobileNetV2', with strides and dilations. It "
            "is in the work folder, and in the checkpoint as meta['cfg']"
        )
