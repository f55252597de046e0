"""Training steps with each weighting of the tasks, as ratios to fixed weights in the same run.

    python benchmarks/weighting.py --threads 1 --clock cpu --json benchmarks/results/weighting_cpu_1-thread.json

All weightings take turns with one model, round after round; the median of the rounds' ratios counts. A step is forward,
backward and Adam, for FAMO with its second forward pass. `logged` are fixed weights whose gradients are logged in every
step. Weightings whose packages are missing are left out.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from common import Machine, add_run_arguments, write_results
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from sca import Case, labels

from mmmtl.cli.arguments import start_clock
from mmmtl.config import resolve
from mmmtl.models import MultiTaskSegmentor
from mmmtl.registry import MODELS

WEIGHTINGS: dict[str, dict[str, Any]] = {
    'FixedWeighting': {},
    'logged': dict(type='FixedWeighting', log_interval=1),
    **{name: {} for name in ('UncertaintyWeighting', 'IMTLL', 'GeometricMean', 'RandomWeighting')},
    'DWA': dict(interval=10),
    **{name: {} for name in ('FAMO', 'PCGrad', 'MGDA', 'IMTLG', 'AlignedMTL', 'UPGrad', 'CAGrad', 'NashMTL')},
}


def step(
    model: MultiTaskSegmentor, cfg: dict[str, Any], images: torch.Tensor, samples: list[Any]
) -> Callable[[], None]:
    """Return a training step with a weighting."""
    weighting = MODELS.build({'log_interval': 0, **cfg, 'tasks': sorted(model.tasks)}).to(images.device)
    parameters = [*model.parameters(), *weighting.parameters()]
    wrapper = OptimWrapper(torch.optim.Adam(parameters, lr=1e-5))

    def run() -> None:
        model.weighting = weighting
        loss, _ = model.parse_losses(model(images, samples, mode='loss'))
        wrapper.update_params(loss)
        with torch.no_grad():
            weighting.after_update(lambda: model(images, samples, mode='loss'))
        model.weighting = None

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.add_argument('--config', default='configs/baselines/multi-task_mbv2_1xb4-2k_nyuv2-288x384.py')
    parser.add_argument('--size', default='288x384', metavar='HxW')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--only', nargs='+', default=list(WEIGHTINGS), choices=WEIGHTINGS, metavar='NAME')
    args = parser.parse_args()
    machine = Machine(args.device, start_clock(args))
    height, width = map(int, args.size.split('x'))
    init_default_scope('mmmtl')
    cfg = resolve(Config.fromfile(args.config)).model
    model = MODELS.build(cfg).to(args.device).train()
    case = Case('', len(model.tasks), args.batch, height, width, args.device)
    images, samples = torch.randn(args.batch, 3, height, width, device=args.device), labels(case, model)
    steps = {}
    for name in dict.fromkeys(['FixedWeighting', *args.only]):
        try:
            steps[name] = step(model, {'type': name, **WEIGHTINGS[name]}, images, samples)
            steps[name]()  # allocates the state of Adam
        except ImportError as error:
            print(f'{name} is left out: {error}')
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, run in steps.items():
            taken[name].append(machine.seconds(run))
    rows: list[dict[str, Any]] = []
    for name, seconds in taken.items():
        ratios = [own / fixed for own, fixed in zip(seconds, taken['FixedWeighting'], strict=True)]
        rows.append({'name': name, 'median_s': statistics.median(seconds), 'ratio': statistics.median(ratios),
                     'smallest_ratio': min(ratios), 'largest_ratio': max(ratios)})  # fmt: skip
        print(
            '{name:22} {median_s:8.3f} s {ratio:6.2f} ({smallest_ratio:.2f} to {largest_ratio:.2f})'.format(**rows[-1])
        )
    write_results(args, config=args.config, tasks=sorted(model.tasks), size=[height, width], batch=args.batch,
                  rounds=args.rounds, rows=rows)  # fmt: skip


if __name__ == '__main__':
    main()
