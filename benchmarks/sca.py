"""Measure training steps of SCA-MTL against a plain implementation of the same equations, in one run.

    python benchmarks/sca.py --threads 1 --clock cpu --json benchmarks/results/sca_cpu.json

Both readings (configs/sca) are measured with two and three tasks, at three scopes. `sca` is the part that the paper
adds: neck and decoder on given maps of the backbone. `model` is the whole network. Their step is forward, the mean
square of every prediction as loss, backward and Adam. `training` is the whole network with the losses of its tasks.

The plain model (sca_plain.py) has our weights; its predictions and gradients are first compared with ours in float64.
Then all take turns, so that a busy machine disturbs all alike. Drop path, which is random, is off.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import Machine, add_run_arguments, write_results
from mmengine.config import Config
from mmengine.structures import PixelData
from sca_plain import PlainSCA
from torch import Tensor, nn

from mmmtl.cli.arguments import start_clock
from mmmtl.config import resolve
from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.decode_heads import HeadOutput
from mmmtl.profiling.measure import Step, peak_memory
from mmmtl.registry import MODELS
from mmmtl.structures import MultiTaskDataSample

CONFIG = 'configs/sca/{}_hrnet18_1xb10-100e_nyuv2-480x640.py'
ROOT = Path(__file__).parents[1]
READINGS = dict(paper='sca', released='sca-released')
SCOPES = ('sca', 'model', 'training')
TOLERANCE = 1e-8  # in float64, relative
PLAIN = 'plain'


@dataclass(frozen=True)
class Case:
    """A reading of SCA-MTL with a number of tasks, N images of H x W, and a device."""

    reading: str
    tasks: int
    images: int
    height: int
    width: int
    device: str

    def __str__(self) -> str:
        return (
            f'{self.reading}, {self.tasks} tasks, {self.images} x 3 x {self.height} x {self.width}, '
            f'float32, {self.device}'
        )


Models = dict[str, nn.Module]


def contenders(case: Case) -> tuple[Models, str]:
    """Return the plain model and ours in both orders of aggregation, with equal weights; and the configured order."""
    cfg = Config.fromfile(ROOT / CONFIG.format(READINGS[case.reading]))
    cfg.model.neck.drop_path = 0.0
    cfg.use_tasks = ['semseg', 'depth', 'normals'][: case.tasks]
    configured = cfg.model.decode_head.get('upsample_first', False)
    models: Models = {}
    for first in (True, False):
        cfg.model.decode_head.upsample_first = first
        ours = MODELS.build(resolve(cfg).model)
        if not models:
            plain = PlainSCA(cfg.model, {name: task.out_channels for name, task in ours.tasks.items()})
            plain.load(ours)
            models[PLAIN] = plain
        else:
            ours.load_state_dict(models[_name(True)].state_dict())
        models[_name(first)] = ours
    return {name: model.to(case.device).train() for name, model in models.items()}, _name(configured)


def _name(upsample_first: bool) -> str:
    return f'mmmtl, upsample_first={upsample_first}'


def disagreement(plain: nn.Module, ours: nn.Module, images: Tensor) -> float:
    """Return the largest difference of predictions and gradients in float64, relative to the largest of each tensor."""
    found = []
    for model in (plain, ours):
        exact = copy.deepcopy(model).double()
        output = exact.decode_head(exact.neck(exact.backbone(images.double())))
        predictions = {f'{p}{name}': value for p, maps in output.predictions().items() for name, value in maps.items()}
        mean_square(output).backward()
        grads = {name: parameter.grad for name, parameter in exact.named_parameters()}
        found.append((predictions, grads, max(g.abs().max() for g in grads.values())))
    errors = []
    for wanted, got in zip(found[0][:2], found[1][:2], strict=True):
        if wanted.keys() != got.keys():
            raise ValueError(f'names that only one model has: {sorted(wanted.keys() ^ got.keys())}')
        # Values that are zero up to rounding, like the gradient of a bias before a norm, cannot be compared.
        errors += [(got[n] - w).abs().max() / (w.abs().max() + 1e-6 * found[0][2]) for n, w in wanted.items()]
    return float(max(errors).detach())


def mean_square(output: HeadOutput) -> Tensor:
    predictions = [value for maps in output.predictions().values() for value in maps.values()]
    return sum((value.square().mean() for value in predictions), start=torch.tensor(0.0))


def step(case: Case, scope: str, model: nn.Module, ours: MultiTaskSegmentor) -> Step:
    """Return a training step: forward, loss, backward, Adam."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(case.images, 3, case.height, case.width, generator=generator).to(case.device)
    if scope == 'sca':
        with torch.no_grad():
            maps = [x.detach() for x in model.backbone(images)]
        parts = (model.neck, model.decode_head)

        def predict() -> HeadOutput:
            # The backbone would need the gradient of its maps.
            return model.decode_head(model.neck([x.detach().requires_grad_() for x in maps]))
    else:
        parts = (model,)

        def predict() -> HeadOutput:
            return model.decode_head(model.neck(model.backbone(images)))

    samples = labels(case, ours) if scope == 'training' else []
    optimizer = torch.optim.Adam([p for part in parts for p in part.parameters()], lr=1e-4, weight_decay=1e-4)

    def run() -> None:
        output = predict()
        loss = sum(ours.head_losses(output, samples).values()) if samples else mean_square(output)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def labels(case: Case, ours: MultiTaskSegmentor) -> list[MultiTaskDataSample]:
    size = (case.height, case.width)
    maps = dict(semseg=torch.randint(0, ours.tasks['semseg'].out_channels, (1, *size)), depth=9 * torch.rand(1, *size))
    if 'normals' in ours.tasks:
        maps['normals'] = nn.functional.normalize(torch.randn(3, *size), dim=0)
    gt = PixelData(**{name: value.to(case.device) for name, value in maps.items()})
    return [MultiTaskDataSample(metainfo=dict(img_path='random', img_shape=size), gt=gt)] * case.images


def measure(case: Case, scopes: Sequence[str], machine: Machine, rounds: int) -> list[dict[str, Any]]:
    """Return a table for each scope."""
    models, configured = contenders(case)
    images = torch.randn(2, 3, 61, 83, generator=torch.Generator().manual_seed(0)).to(case.device)
    errors = {name: disagreement(models[PLAIN], model, images) for name, model in models.items() if name != PLAIN}
    wrong = {name: error for name, error in errors.items() if not error < TOLERANCE}
    if wrong:
        raise SystemExit(f'{case}: differs from the plain model: {wrong}')
    tables = []
    for scope in scopes:
        steps = {name: step(case, scope, model, models[configured]) for name, model in models.items()}
        peaks, taken = {}, {name: [] for name in steps}
        for name, run in steps.items():
            run()  # allocates the state of Adam
            peaks[name] = peak_memory(run, case.device)
        for _ in range(rounds):
            for name, run in steps.items():
                taken[name].append(machine.seconds(run))
        rows = []
        for name, seconds in taken.items():
            median = statistics.median(seconds)
            rows.append({
                'name': name, 'configured': name == configured, 'error': errors.get(name, 0.0),
                'median_s': median, 'iqr_s': interquartile(seconds), 'images_per_s': case.images / median,
                'speedup': statistics.median(taken[PLAIN]) / median,
                'peak_mb': peaks[name] / 1e6, 'peak_of_plain': peaks[name] / peaks[PLAIN],
            })  # fmt: skip
        tables.append({'case': str(case), 'scope': scope, 'rounds': rounds, 'rows': rows})
        show(tables[-1])
    return tables


def interquartile(values: Sequence[float]) -> float:
    """Return the range that holds the middle half."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return high - low


def show(table: dict[str, Any]) -> None:
    """Print a table; * marks the order in the config."""
    print(f'\n{table["scope"]}: {table["case"]}, {table["rounds"]} rounds')
    head = ('median s', 'IQR s', 'images/s', 'faster', 'peak MB', 'of plain', 'error')
    print(f'{"":30}' + ''.join(f'{x:>10}' for x in head))
    for row in table['rows']:
        print(f'{row["name"] + " *" * row["configured"]:30}{row["median_s"]:10.3f}{row["iqr_s"]:10.3f}'
              f'{row["images_per_s"]:10.2f}{row["speedup"]:9.2f}x{row["peak_mb"]:10.0f}{row["peak_of_plain"]:10.2f}'
              f'{row["error"]:10.0e}', flush=True)  # fmt: skip


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_arguments(parser)
    parser.add_argument('--size', default='480x640', metavar='HxW')
    parser.add_argument('--batch', type=int, default=1, help='images in a step')
    parser.add_argument('--tasks', type=int, nargs='+', default=[2, 3], choices=(2, 3))
    parser.add_argument('--readings', nargs='+', default=list(READINGS), choices=READINGS)
    parser.add_argument('--scopes', nargs='+', default=list(SCOPES), choices=SCOPES)
    parser.add_argument('--rounds', type=int, default=7)
    args = parser.parse_args()
    height, width = map(int, args.size.split('x'))
    machine = Machine(args.device, start_clock(args))
    tables = []
    for reading in args.readings:
        for tasks in args.tasks:
            case = Case(reading, tasks, args.batch, height, width, args.device)
            tables += measure(case, args.scopes, machine, args.rounds)
    write_results(args, tables=tables)


if __name__ == '__main__':
    main()
