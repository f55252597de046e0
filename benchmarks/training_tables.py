"""The rows of the training tables: which configs are compared, on which tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

NYUV2 = '1xb4-2k_nyuv2-288x384'


@dataclass(frozen=True)
class Row:
    """A method: one model, or several whose metrics stand side by side and whose costs add up.

    Args:
        name: of the method.
        config: its config file.
        models: `--tasks` of each of its models; None for one model of all tasks of the table.
        options: `--cfg-options` of its own.
    """

    name: str
    config: str
    models: tuple[str, ...] | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Methods that are trained alike.

    Args:
        tasks: that all models have, for `--tasks`.
        metrics: that are shown.
        rows: the first is the baseline of delta_m.
        offsets: of `tools/test.py`, for videos.
    """

    tasks: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    offsets: str | None = field(default=None)


def image_table(tasks: str, metrics: tuple[str, ...]) -> Table:
    """The methods of the SCA-MTL paper on NYUv2."""
    baseline = f'configs/baselines/multi-task_mbv2_{NYUV2}.py'
    methods = {'PAD-Net': 'pad-net', 'MTI-Net': 'mti-net', 'ATRC': 'atrc', 'SCA': 'sca'}
    return Table(
        tasks,
        metrics,
        (
            Row('single-task', baseline, models=tuple(tasks.split(','))),
            Row('multi-task', baseline),
            *(Row(n, f'configs/{m.replace("-", "_")}/{m}_mbv2_{NYUV2}.py') for n, m in methods.items()),
        ),
    )


TABLES = {
    'image-2': image_table('semseg,depth', ('semseg/mIoU', 'depth/rmse')),
    'image-3': image_table('semseg,depth,normals', ('semseg/mIoU', 'depth/rmse', 'normals/mean')),
}
