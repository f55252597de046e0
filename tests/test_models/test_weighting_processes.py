"""Weightings on two processes: after five steps, the parameters of one process with the whole batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmmtl.models.weighting.gradients import task_gradients
from mmmtl.registry import MODELS

CLOSED: dict[str, dict[str, Any]] = dict(
    FixedWeighting={},
    UncertaintyWeighting={},
    IMTLL={},
    GeometricMean={},
    RandomWeighting={},
    DWA=dict(interval=1),
    FAMO={},
    PCGrad={},
    IMTLG={},
    AlignedMTL={},
)
SOLVERS: dict[str, dict[str, Any]] = dict(MGDA={}, UPGrad={}, CAGrad={}, NashMTL={})
NEEDS = dict(FixedWeighting='torch', DWA='torch', UPGrad='quadprog', CAGrad='clarabel', NashMTL='ecos')
ROWS = ([0], [1, 2, 3])
OFFSETS = (0, 1, 3, 2)
"""The first process has a key frame alone, so it does not reach the fast network."""
LABELLED = (('depth',), ('semseg', 'depth', 'normals'), (), ('semseg', 'depth'))
"""Nobody labels normals on the first process; in every third step nobody does at all."""


def installed(names: Sequence[str]) -> list[str]:
    return [name for name in names if find_spec('torchjd') and find_spec(NEEDS.get(name, 'torchjd'))]


def train(
    tiny: Any,
    weighting: dict[str, Any],
    rows: Sequence[int],
    *,
    parallel: bool,
    video: bool,
    counts: int,
    steps: int = 5,
) -> dict[str, Tensor]:
    """Train for some steps on some rows of the batches; return parameters and buffers."""
    model = tiny.frozen(tiny.video_model() if video else tiny.image_model())
    model.weighting = MODELS.build(dict(**weighting, tasks=sorted(tiny.TASKS), log_interval=2)).double()
    wrapped = MMDistributedDataParallel(model, find_unused_parameters=video) if parallel else model
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.01, momentum=0.9)
    wrapper = OptimWrapper(optimizer, accumulative_counts=counts, clip_grad=dict(max_norm=1.0))
    for step in range(steps * counts):
        model.weighting.before_iteration(step, 0.0, 1000 + step)
        inputs = tiny.clips(4, seed=step) if video else tiny.pixels(4, 3, *tiny.SIZE, seed=step)
        samples = tiny.clip_samples(OFFSETS) if video else [tiny.sample(seed=row) for row in range(4)]
        for row, tasks in enumerate(LABELLED):
            labelled = [task for task in tasks if step % 3 != 2 or task != 'normals']
            samples[row].gt = tiny.labels(tasks=labelled, seed=4 * step + row)
        batch = (inputs[list(rows)], [samples[row] for row in rows])
        with wrapper.optim_context(wrapped):
            losses = wrapped(*batch, mode='loss')
        wrapper.update_params(model.parse_losses(losses)[0])
        if wrapper.should_update():
            with torch.no_grad():
                model.weighting.after_update(lambda batch=batch: model(*batch, mode='loss'))
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def test_inner_products_are_those_of_the_averaged_gradients(in_processes: Callable[..., list[Any]]) -> None:
    def run(rank: int) -> Tensor:
        gradients = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[3.0, 0.0], [1.0, 2.0]]][rank])
        x = nn.Parameter(torch.ones(2))
        return task_gradients(list(gradients @ x), [x], torch.tensor(2.0)).gramian

    for gramian in in_processes(run):  # of (2, 1) and (2, 3)
        assert gramian.tolist() == [[5.0, 7.0], [7.0, 13.0]]


FEW = ('UncertaintyWeighting', 'FAMO', 'PCGrad', 'UPGrad')
ALL = tuple(CLOSED | SOLVERS)


@pytest.mark.parametrize(
    ('names', 'video', 'counts'),
    [
        pytest.param(FEW, False, 1, id='image'),
        pytest.param(('UncertaintyWeighting', 'PCGrad'), True, 1, id='video', marks=pytest.mark.slow),
        pytest.param(ALL, False, 1, id='image-all', marks=pytest.mark.slow),
        pytest.param(ALL, True, 1, id='video-all', marks=pytest.mark.slow),
        pytest.param(FEW, True, 2, id='accumulation', marks=pytest.mark.slow),
    ],
)
def test_two_processes_weigh_as_one(
    tiny: Any, in_processes: Callable[..., list[Any]], names: Sequence[str], video: bool, counts: int
) -> None:
    chosen = {name: dict(type=name, **(CLOSED | SOLVERS)[name]) for name in installed(names)}
    if not chosen:
        pytest.skip('needs torchjd')

    def run(rows: Sequence[int], parallel: bool) -> dict[str, dict[str, Tensor]]:
        return {n: train(tiny, cfg, rows, parallel=parallel, video=video, counts=counts) for n, cfg in chosen.items()}

    alone, found = run(range(4), False), in_processes(lambda rank: run(ROWS[rank], True))
    for name in chosen:
        tolerance = dict(rtol=0, atol=1e-10 if name in CLOSED else 1e-6)
        for key, expected in alone[name].items():
            assert torch.equal(found[0][name][key], found[1][name][key]), (name, key)
            if key == 'weighting.last':  # Nash's search stops at a threshold
                continue
            value, where = found[0][name][key], f'{name}, {key}'
            torch.testing.assert_close(value, expected, **tolerance, msg=lambda m, where=where: f'{where}: {m}')
