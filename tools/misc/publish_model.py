"""Publish a checkpoint: its weights alone, with a part of their SHA-256 in the name, and a model card.

    python tools/misc/publish_model.py work_dirs/mila/iter_2000.pth --name mila_indoor --out-dir published \\
        --licence Apache-2.0 --data 'NYU Depth v2' --metrics work_dirs/mila/metrics.json --config CONFIG

Optimizer, schedules and counters are left out. `.safetensors` is the default; `--format pth` writes a file that
`torch.load(weights_only=True)` reads.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmmtl import __version__
from mmmtl.checkpoint import WEIGHTING, trained_order, trained_tasks, weights_of
from mmmtl.cli.arguments import DTYPES
from mmmtl.cli.errors import readable_errors
from mmmtl.convolutions import KEY as CONVOLUTIONS
from mmmtl.evaluation import read_metrics
from mmmtl.evaluation.metric_files import arrow, format_metric
from mmmtl.io import check_outputs, write_text
from mmmtl.io.checkpoints import load_from_local
from mmmtl.io.files import sha256_of
from mmmtl.io.outputs import temporary_folder
from mmmtl.io.safetensors import convert_kernels, write_safetensors
from mmmtl.tasks.metric_keys import MetricKey

HASH = 8
"""Digits of the SHA-256 in the name of a file."""

TO_SAY = 'Say what the model is for, and where it fails.'
"""The line of the card that its author replaces."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint that a training run wrote')
    parser.add_argument('--name', required=True, help='name of the model, with which the file names begin')
    parser.add_argument('--out-dir', required=True, type=Path, help='folder to write the files to')
    parser.add_argument('--licence', required=True, help='licence of the weights')
    parser.add_argument('--data', required=True, help='what the model was trained on')
    parser.add_argument('--config', help='of the model, for the card')
    parser.add_argument('--metrics', type=Path, metavar='FILE', help='metrics.json of the test, for the card')
    parser.add_argument('--format', choices=('safetensors', 'pth'), default='safetensors', help='default: safetensors')
    parser.add_argument('--dtype', choices=DTYPES, help='number type of kernels (default: as they are)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if Path(args.name).name != args.name:
        raise SystemExit(f'--name {args.name}: must be a name, not a path; the folder is --out-dir')
    check_outputs([args.out_dir], [args.checkpoint, args.metrics])
    checkpoint = load_from_local(args.checkpoint, map_location='cpu')
    weights = {name: value for name, value in weights_of(checkpoint).items() if not name.startswith(WEIGHTING)}
    tasks = trained_tasks(checkpoint)
    meta = dict(dataset_meta=dict(tasks=tasks), task_order=trained_order(checkpoint), mmmtl=__version__)
    if (convolutions := (checkpoint.get('meta') or {}).get(CONVOLUTIONS)) is not None:
        meta[CONVOLUTIONS] = convolutions
    metrics = read_metrics(args.metrics) if args.metrics else {}
    dtype = getattr(torch, args.dtype) if args.dtype else None
    args.out_dir.mkdir(parents=True, exist_ok=True)
    with temporary_folder(args.out_dir, '.publish.') as folder:
        partial = folder / f'weights.{args.format}'
        if args.format == 'safetensors':
            digest = write_safetensors(partial, weights, meta, dtype=dtype)
        else:
            torch.save({'state_dict': convert_kernels(weights, dtype), 'meta': meta}, partial)
            digest = sha256_of(partial)
        target = args.out_dir / f'{args.name}-{digest[:HASH]}.{args.format}'
        card = target.with_suffix('.md')
        for path in (target, card):
            if path.exists():
                raise SystemExit(f'{path}: exists already; published files are not overwritten, choose another --name')
        partial.rename(target)
    text = card_of(args, target.name, digest, weights, tasks, metrics)
    write_text(card, text)
    print(f'weights: {target}\nmodel card: {card}\nSHA-256: {digest}')
    print(f'still to do: replace line {text.splitlines().index(TO_SAY) + 1} of {card}: "{TO_SAY}"')


def card_of(
    args: argparse.Namespace,
    file: str,
    digest: str,
    weights: Mapping[str, torch.Tensor],
    tasks: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> str:
    """Return the text of the model card."""
    millions = sum(value.numel() for value in weights.values()) / 1e6
    lines = [
        f'# {args.name}',
        '',
        f'- File: `{file}`, SHA-256 `{digest}`',
        f'- Licence of the weights: {args.licence}',
        f'- Training data: {args.data}',
        f'- Config: {f"`{args.config}`" if args.config else "not given"}',
        f'- Values: {millions:.2f} million',
        f'- Written by: mmmtl {__version__}',
        '',
        '## Tasks',
        '',
        *([f'- `{name}`: {kind(task)}' for name, task in tasks.items()] or ['The checkpoint does not name them.']),
        '',
        '## Scores',
        '',
    ]
    wanted = (key for key in metrics if not (MetricKey.parse(key).is_detail or key.startswith('stream/')))
    shown = {key: metrics[key] for key in wanted}
    if shown:
        lines += ['| metric | value |', '| --- | --- |']
        lines += [f'| {key}{arrow(key)} | {format_metric(value)} |' for key, value in shown.items()]
    else:
        lines.append('Not measured.')
    lines += ['', '## Limits and intended use', '', TO_SAY, '']
    return '\n'.join(lines)


def kind(task: Any) -> str:
    """Return the kind of a task of a checkpoint, as plain text, and whether it is auxiliary."""
    if not isinstance(task, Mapping):
        return 'unknown'
    return f'{task.get("type")}{" (auxiliary, not predicted)" if task.get("auxiliary") else ""}'


if __name__ == '__main__':
    with readable_errors():
        main()
