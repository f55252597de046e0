"""The models that the page offers; one at a time is in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmmtl.apis import MultiTaskInferencer
from mmmtl.apis.model_zoo import zoo_weights
from mmmtl.apis.optimize import Optimization
from mmmtl.config import input_size, load_config, resolve
from mmmtl.profiling import build_on_meta, count_cost


class LoadedModel(NamedTuple):
    """A model with its weights, and its cost.

    Args:
        inferencer: an inferencer of the chosen tasks alone.
        gmac: billions of multiply-accumulates of an 'image', or of a 'key' and a 'non_key' frame; empty if the model
            has no size of its own.
    """

    inferencer: MultiTaskInferencer
    gmac: Mapping[str, float]


class Models:
    """The models of the page by name.

    Args:
        weights: {name or config file: weights, or None for those of the zoo}.
        device: 'cpu', 'cuda', ...; None is CUDA if available.
        optimize: see `MultiTaskInferencer`.
        dtype: in which an optimised model computes; None keeps float32.
    """

    def __init__(
        self,
        weights: Mapping[str, Path | None],
        *,
        device: str | None = None,
        optimize: Optimization | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._weights = dict(weights)
        self._build = partial(MultiTaskInferencer, device=device, optimize=optimize, dtype=dtype)
        self._key: tuple[str, ...] = ()
        self._loaded: LoadedModel | None = None

    @property
    def names(self) -> list[str]:
        """Return the names, the first choice first."""
        return list(self._weights)

    def tasks(self, name: str) -> list[str]:
        """Return the names of the tasks that a model predicts."""
        return [task for task, cfg in self._declared(name).items() if not cfg.get('auxiliary', False)]

    def load(self, name: str, tasks: Sequence[str]) -> LoadedModel:
        """Return a model with some of its tasks and all auxiliary ones, which replaces the one in memory.

        Raises:
            ValueError: no task, no such model, or what `MultiTaskInferencer` refuses.
        """
        if not tasks:
            raise ValueError('choose at least one task')
        if (key := (name, *tasks)) != self._key or self._loaded is None:
            declared = self._declared(name)
            self._loaded = None
            used = [task for task, cfg in declared.items() if task in tasks or cfg.get('auxiliary', False)]
            cfg = load_config(name, tasks=used)
            inferencer = self._build(cfg, self._weights[name] or zoo_weights(name))
            shape = input_size(cfg)
            macs = {} if shape is None else count_cost(build_on_meta(cfg), shape).total().macs
            self._key, self._loaded = key, LoadedModel(inferencer, {kind: n / 1e9 for kind, n in macs.items()})
        return self._loaded

    def _declared(self, name: str) -> Mapping[str, Any]:
        """Return {task: config} of a model."""
        if name not in self._weights:
            raise ValueError(f'no model {name!r} on this page')
        tasks: Mapping[str, Any] = resolve(load_config(name)).tasks
        return tasks
