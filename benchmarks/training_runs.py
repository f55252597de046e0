"""Runs of the training tables: their configs, what identifies them, and the files of their results."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from training_rows import Options, Row
from training_tables import Table

from mmmtl.config import resolve
from mmmtl.engine import change_length
from mmmtl.io import write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
Record = dict[str, Any]

PARTS = (
    *('tasks', 'model', 'key_frame_interval', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'train_cfg'),
    *('optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'custom_hooks'),
)
"""Keys of a resolved config that decide the scores."""

WITHOUT_EFFECT = ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory')
"""Keys below them that do not."""

DECIDED_HERE = (
    *('load_from', 'resume', 'randomness', 'work_dir', 'test_cfg', 'test_dataloader', 'test_evaluator'),
    *('checkpoint_interval', 'train_cfg.val_interval', 'train_cfg.max_iters', 'use_tasks'),
)
"""Keys that options of all rows may not change."""

CHECKPOINT_INTERVAL = 100
"""Iterations between two checkpoints, at most."""


@dataclass(frozen=True)
class Settings:
    """A table with the settings of its training; runs of different settings are never compared.

    Args:
        table: table of rows.
        iterations: iterations of each run.
        options: changes of the config of every row, by dotted key.

    Raises:
        ValueError: an option is one of those `DECIDED_HERE`.
    """

    table: Table
    iterations: int
    options: Options = field(default_factory=dict)
    _configs: dict[str, Config] = field(default_factory=dict, init=False, repr=False, compare=False)
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if taken := [key for key in self.options if f'{key}.'.startswith(tuple(f'{one}.' for one in DECIDED_HERE))]:
            raise ValueError(f'{taken}: decided by row, seed and iterations of a run; leave it out')

    def config(self, row: Row) -> Config:
        """Return the resolved config of a row, validated after each third of the training.

        The paths of checkpoints of other runs are left empty.
        """
        if row.name not in self._configs:
            self._configs[row.name] = self._resolve(row)
        return copy.deepcopy(self._configs[row.name])

    def _resolve(self, row: Row) -> Config:
        cfg = copy.deepcopy(read_config(row.config))
        if row.teacher is not None:
            teacher = self.config(self.table.row(row.teacher)).model
            cfg.model.teacher = dict(model=teacher, checkpoint='')
        for options in (self.table.recipe, row.options, self.options):
            change(cfg, options)
        for part in row.start:
            network = cfg.model[part].backbone
            network.init_cfg = dict(type='Pretrained', checkpoint='', prefix='backbone.backbone.')
        cfg = change_length(cfg, iterations=self.iterations)
        third = -(-self.iterations // 3)
        cfg.train_cfg.val_interval = third
        cfg.checkpoint_interval = min(CHECKPOINT_INTERVAL, third)
        if row.tasks is not None:
            cfg.use_tasks = list(row.tasks)
        return resolve(cfg)

    def digest(self, row: Row) -> str:
        """Return a hash of everything that the scores of a row depend on but the seed, in its config and its start."""
        if row.name not in self._digests:
            cfg = self.config(row).to_dict()
            reference = self.config(self.table.row(self.table.reference)).model.to_dict()
            content = {part: cfg.get(part) for part in PARTS} | {'reference': reference, 'shares': dict(row.shares)}
            if row.start:
                content['start'] = {part: self.digest(self.table.row(other)) for part, other in row.start.items()}
            text = json.dumps(effective(content), sort_keys=True, default=lambda value: value.__qualname__)
            self._digests[row.name] = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self._digests[row.name]

    def identity(self, row: Row, seed: int) -> Record:
        """Return what distinguishes a run from all others."""
        return dict(row=row.name, seed=seed, iterations=self.iterations, config=self.digest(row))


@dataclass(frozen=True)
class Run:
    """A training of a row with a seed, in a folder of its own below `work_dir`."""

    settings: Settings
    row: Row
    seed: int
    work_dir: Path

    @property
    def identity(self) -> Record:
        """Everything that tells the run from others."""
        return self.settings.identity(self.row, self.seed)

    @property
    def name(self) -> str:
        """For people."""
        return f'{self.row.name}, seed {self.seed}'

    @property
    def folder(self) -> Path:
        """The folder of its checkpoints, its log and its result."""
        words = re.sub(r'[^\w.]+', '-', self.row.name)
        name = f'{words}_seed{self.seed}_{self.settings.iterations}_{self.settings.digest(self.row)}'
        return self.work_dir / self.settings.table.name / name

    @property
    def result(self) -> Path:
        """The file with its result, which exists when it has finished."""
        return self.folder / 'result.json'

    @property
    def checkpoint(self) -> Path:
        """Its last checkpoint."""
        return self.folder / f'iter_{self.settings.iterations}.pth'

    @property
    def requires(self) -> tuple[Run, ...]:
        """The runs whose checkpoints it needs, for itself or for the reference's initial weights."""
        table = self.settings.table
        rows = [self.row] if self.row in table.pretraining else [self.row, table.row(table.reference)]
        names = [*filter(None, [self.row.teacher]), *(other for row in rows for other in row.start.values())]
        return tuple(self.beside(name) for name in dict.fromkeys(names))

    def beside(self, row: str) -> Run:
        """Return the run of another row with the same seed."""
        return Run(self.settings, self.settings.table.row(row), self.seed, self.work_dir)

    def config(self) -> Config:
        """Return its resolved config, with the paths of the checkpoints that it needs."""
        cfg = self.settings.config(self.row)
        if self.row.teacher is not None:
            cfg.model.teacher.checkpoint = str(self.beside(self.row.teacher).checkpoint)
        for part, other in self.row.start.items():
            cfg.model[part].backbone.init_cfg.checkpoint = str(self.beside(other).checkpoint)
        return cfg


def change(cfg: Config, options: Options) -> None:
    """Set values of a config by dotted key, where a number is a place in a list; a dict replaces what was there.

    Raises:
        ValueError: the config has no such place.
    """
    for key, value in options.items():
        *steps, last = key.split('.')
        place: Any = cfg
        for step in steps:
            try:
                place = place[int(step)] if isinstance(place, list) else place[step]
            except (KeyError, IndexError, TypeError, ValueError):
                raise ValueError(f'{key}: the config {cfg.filename} has no {step!r} there') from None
        place[last] = ConfigDict(value) if isinstance(value, dict) else copy.deepcopy(value)


@cache
def read_config(path: str) -> Config:
    """Read a config file, given relative to the repository."""
    return Config.fromfile(ROOT / path)


def effective(value: Any) -> Any:
    """Return plain data without the keys that have no effect on scores."""
    if isinstance(value, Mapping):
        return {str(key): effective(item) for key, item in value.items() if key not in WITHOUT_EFFECT}
    return [effective(item) for item in value] if isinstance(value, (list, tuple)) else value


def results_file(table: Table, folder: Path = RESULTS) -> Path:
    """Return the file of a table's results."""
    return folder / f'training_{table.name}.json'


def read_records(path: Path) -> list[Record]:
    """Read the results of finished runs; none if there is no file.

    Raises:
        ValueError: the file is not a list of results.
    """
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path}: not JSON ({error}); restore it, or move it away') from None
    keys = {'row', 'seed', 'iterations', 'config', 'scores'}
    if not isinstance(records, list) or not all(isinstance(record, dict) and keys <= set(record) for record in records):
        raise ValueError(f'{path}: must be a list of results with {sorted(keys)}; move it away')
    return records


def find_record(records: Sequence[Record], identity: Record) -> Record | None:
    """Return the result of a run, if it has finished."""
    return next((record for record in records if identity.items() <= record.items()), None)


def finished_seeds(records: Sequence[Record], settings: Settings, row: Row) -> list[int]:
    """Return the seeds with which a row has finished under these settings, ascending."""
    seeds = sorted({record['seed'] for record in records})
    return [seed for seed in seeds if find_record(records, settings.identity(row, seed))]


def add_record(path: Path, record: Record) -> None:
    """Add a result to a file, which is written as a whole, a line for each; one of the same run is replaced."""
    keys = ('row', 'seed', 'iterations', 'config')
    same = {key: record[key] for key in keys}
    records = [other for other in read_records(path) if not same.items() <= other.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ',\n'.join(json.dumps(one, allow_nan=False) for one in [*records, record])
    write_text(path, f'[\n{lines}\n]\n')
