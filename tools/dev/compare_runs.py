"""Compare what two revisions compute, bit by bit: losses, gradients and predictions of every method.

Both revisions get the same generated inputs, the same weights and the same order of the tasks. The first difference of
every config is printed, and the exit status is 1 if there is any. A revision that git names is checked out in a
temporary folder; a folder, such as `.`, is used directly.

    python tools/dev/compare_runs.py main . --one-per-method
    python tools/dev/compare_runs.py v0.1.0 . 'mila/*' 'sca_*nyud*' --iterations 5

`tools/dev/renames.yml` lists names that differ in the new revision.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from mmengine.config import DictAction
from revision_run import Record, enter, run


def first_difference(old: Record, new: Record) -> str | None:
    """Return what differs first, and by how much; None if every bit is the same (NaN is equal to NaN)."""
    for name, value in old.items():
        if name not in new:
            return f'{name} is missing in the new revision'
        other = new[name]
        if value.shape != other.shape or value.dtype != other.dtype:
            return f'{name}: {value.dtype} {value.shape} has become {other.dtype} {other.shape}'
        same = (value == other) | ((value != value) & (other != other))
        if not same.all():
            difference = np.abs(value.astype(np.float64) - other.astype(np.float64))[~same].max()
            values = f' ({value} has become {other})' if value.ndim == 0 else ''
            return f'{name}: the maximum absolute difference is {difference:.3g}{values}'
    added = [name for name in new if name not in old]
    return f'{added[0]} is missing in the old revision' if added else None


@contextlib.contextmanager
def tree_of(revision: str, folder: Path) -> Iterator[Path]:
    """Yield the folder of a revision: an existing one, or else a checkout that is removed afterwards."""
    if (Path(revision) / 'mmmtl').is_dir():
        yield Path(revision).resolve()
        return
    subprocess.run(['git', 'worktree', 'add', '--quiet', '--detach', folder, revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run(['git', 'worktree', 'remove', '--force', folder], check=True)


def find_configs(root: Path, patterns: Sequence[str], *, one_per_method: bool) -> list[str]:
    """Return the configs below `root`, those that match any pattern if there are some.

    Raises:
        SystemExit: a pattern matches no config.
    """
    paths = sorted(path.relative_to(root) for path in root.rglob('*.py') if '_base_' not in path.parts)
    hits = [[path for path in paths if path.match(pattern) or path.stem == pattern] for pattern in patterns]
    if missed := [pattern for pattern, hit in zip(patterns, hits, strict=True) if not hit]:
        raise SystemExit(f'no config of the old revision matches {missed}; write, for example, mila/* or sca_*nyud*')
    if patterns:
        paths = [path for path in paths if any(path in hit for hit in hits)]
    if one_per_method:  # the name of a config begins with that of its method
        paths = list({(path.parent, path.stem.partition('_')[0]): path for path in paths}.values())
    return [path.as_posix() for path in paths]


def compare(
    name: str, trees: Sequence[Path], pools: Sequence[ProcessPoolExecutor], args: argparse.Namespace
) -> str | None:
    """Return the first difference of a config between the revisions."""
    table = yaml.safe_load(args.renames.read_text())
    lines = [name, table['configs'].get(name, name)]
    if not (trees[1] / 'configs' / lines[1].split()[0]).is_file():
        return f'configs/{lines[1]} is missing in the new revision; name its successor in {args.renames}'
    with tempfile.TemporaryDirectory() as folder:
        records = []
        for which, tree, line, pool in zip(('old', 'new'), trees, lines, pools, strict=True):
            try:
                job = pool.submit(
                    run, f'{shlex.quote(str(tree))}/configs/{line}', folder, table['weights'], which == 'old', args
                )
                records.append(job.result())
            except Exception as error:
                return f'the {which} revision fails with {type(error).__name__}: {error}'
    return first_difference(*records)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('old', metavar='OLD', help='a Git revision, or a folder')
    parser.add_argument('new', metavar='NEW', help='a Git revision, or a folder')
    parser.add_argument('configs', nargs='*', metavar='CONFIG', help='patterns of configs of OLD (default: all)')
    parser.add_argument('--one-per-method', action='store_true', help='only the last config of each method, by name')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--iterations', type=int, default=3, help='of training (default: %(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=[32, 32], metavar=('H', 'W'), help='(default: 32 32)')
    parser.add_argument('--sort-tasks', action='store_true', help='sort the tasks, for models that do so themselves')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    parser.add_argument('--renames', type=Path, default=Path(__file__).with_name('renames.yml'), metavar='FILE')
    parser.add_argument('--jobs', type=int, default=1, help='configs at a time (default: %(default)s)')
    return parser.parse_args()


def compare_all(args: argparse.Namespace) -> Iterator[tuple[str, str | None]]:
    """Yield every config and its first difference, and print the progress."""
    spawn = multiprocessing.get_context('spawn')
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        revisions = {folder / 'old': args.old, folder / 'new': args.new}
        trees = [stack.enter_context(tree_of(revision, path)) for path, revision in revisions.items()]
        names = find_configs(trees[0] / 'configs', args.configs, one_per_method=args.one_per_method)
        pools = [stack.enter_context(ProcessPoolExecutor(args.jobs, spawn, enter, (str(tree),))) for tree in trees]
        threads = stack.enter_context(ThreadPoolExecutor(args.jobs))
        differences = threads.map(lambda name: compare(name, trees, pools, args), names)
        for i, (name, difference) in enumerate(zip(names, differences, strict=True), 1):
            print(f'[{i}/{len(names)}] {name}: {difference or "identical"}', flush=True)
            yield name, difference


def main() -> None:
    args = parse_args()
    os.environ.update(OMP_NUM_THREADS='1', PYTHONHASHSEED='0')
    start = time.perf_counter()
    found = dict(compare_all(args))
    differing = {name: difference for name, difference in found.items() if difference}
    seconds = time.perf_counter() - start
    print(f'{len(found) - len(differing)} of {len(found)} configs are identical ({seconds:.0f} s)')
    for name, difference in differing.items():
        print(f'{name} differs: {difference}')
    sys.exit(bool(differing))


if __name__ == '__main__':
    main()
