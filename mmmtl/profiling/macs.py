"""Multiply-accumulates (MACs) of each module in any computation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(model: nn.Module, run: Callable[[], Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Count the MACs of what `run` does with a model.

    Returns:
        {module name: MACs of its own operations, without its children}, where '' is the model itself and everything
        outside modules; and {operator: MACs}. Both have the same sum.

    Examples:
        >>> import torch
        >>> layer = nn.Linear(3, 4)
        >>> count_macs(layer, lambda: layer(torch.ones(2, 3)))
        ({'': 24}, {'aten.addmm': 24})
    """
    own: dict[str, int] = defaultdict(int)
    running = ['']
    seen = 0

    def charge() -> None:
        nonlocal seen
        own[running[-1]] += counter.get_total_flops() - seen
        seen = counter.get_total_flops()

    def enter(name: str) -> None:
        charge()
        running.append(name)

    def leave() -> None:
        charge()
        running.pop()

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            hooks.callback(module.register_forward_pre_hook(lambda module, args, name=name: enter(name)).remove)
            hooks.callback(module.register_forward_hook(lambda module, args, output: leave()).remove)
        with FlopCounterMode(display=False) as counter:
            run()
            charge()
    operators = counter.get_flop_counts().get('Global', {})
    # The counter counts a multiply-accumulate as two operations.
    return {n: flops // 2 for n, flops in own.items()}, {str(op): flops // 2 for op, flops in operators.items()}
