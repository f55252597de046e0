"""Two optimisers: one for the discriminator of an alignment loss, one for everything else."""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmmtl.registry import OPTIM_WRAPPER_CONSTRUCTORS


class AlternatingOptimWrappers(OptimWrapperDict):
    """Wrappers that each update once per iteration, and know the last one, at which accumulated gradients are used."""

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        for wrapper in self.values():
            wrapper.initialize_count_status(model, init_counts, max_counts)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class AlternatingOptimWrapperConstructor:
    """A constructor of the two optimisers of `AdversarialAlignLoss(mode='alternating')`.

    `optim_wrapper=dict(constructor='AlternatingOptimWrapperConstructor', model=dict(type='OptimWrapper',
    optimizer=...), discriminator=dict(type='OptimWrapper', optimizer=...))`.

    Args:
        optim_wrapper_cfg: configs of the two wrappers, `model` and `discriminator`.
        paramwise_cfg: must be None.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        if paramwise_cfg is not None or set(optim_wrapper_cfg) != {'model', 'discriminator'}:
            raise ValueError(
                "AlternatingOptimWrapperConstructor takes an optim_wrapper with the keys 'model' and 'discriminator' "
                f'and no other, not {sorted(optim_wrapper_cfg)} with paramwise_cfg={paramwise_cfg}'
            )
        self.configs = optim_wrapper_cfg

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Return the two wrappers; refuse a model that is wrapped or has no discriminator of that mode."""
        loss = getattr(model, 'align_loss', None)
        if loss is None or getattr(loss, 'mode', None) != 'alternating' or loss.discriminator is None:
            raise ValueError(
                "two optimisers need model.align_loss=dict(type='AdversarialAlignLoss', mode='alternating', ...) in a "
                "single process; on several, use mode='grl' with one optimiser"
            )
        adversary = list(loss.discriminator.parameters())
        others = [p for p in model.parameters() if all(p is not q for q in adversary)]
        return AlternatingOptimWrappers(
            model=_build('model', self.configs['model'], others),
            discriminator=_build('discriminator', self.configs['discriminator'], adversary),
        )


def _build(name: str, cfg: dict[str, Any], parameters: list[nn.Parameter]) -> OptimWrapper:
    """Return a wrapper that logs `<name>.grad_norm`, as mmengine logs `<name>.lr`."""
    cfg = dict(cfg)
    optimizer = OPTIMIZERS.build({**cfg.pop('optimizer'), 'params': parameters})
    wrapper: OptimWrapper = OPTIM_WRAPPERS.build({'type': 'OptimWrapper', **cfg, 'optimizer': optimizer})
    wrapper.grad_name = f'{name}.grad_norm'
    return wrapper
