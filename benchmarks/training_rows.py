"""The rows of the training tables: configs, or small changes of a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A model to train.

    Args:
        name: name of the row; it identifies its runs.
        config: its config file.
        options: changes of the config, by dotted key; a dict replaces what is there.
        tasks: what it predicts; None for all tasks of the config.
        teacher: the row whose trained model it imitates.
        shares: {part of the model: part of the table's reference that it is}, for parts with another name there.
        start: {backbone of the model: the row whose trained backbone it starts from}, as others start from ImageNet.
    """

    name: str
    config: str
    options: Options = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None
    teacher: str | None = None
    shares: Mapping[str, str] = field(default_factory=dict)
    start: Mapping[str, str] = field(default_factory=dict)

    def changed(self, name: str, options: Options | None = None, tasks: tuple[str, ...] | None = None) -> Row:
        """Return a row that differs from this one in some options, or in its tasks."""
        return replace(self, name=name, options={**self.options, **(options or {})}, tasks=tasks or self.tasks)


TASKS = ('semseg', 'depth', 'normals')
PLAIN: Options = {'model.neck.multi_frame': False, 'model.neck.task_specific': False}
NO_ALIGNMENT: Options = {'model.align_loss': None}
UNALIGNED: Options = {**PLAIN, **NO_ALIGNMENT}
L1_ONLY: Options = {'model.align_loss.beta': 0}
CONCAT: Options = {'model.neck': dict(type='ConcatNeck')}
FLOW: Options = {'model.neck': dict(type='FlowWarpNeck', flow=dict(type='DISFlow'))}
MTAN: Options = dict(type='MTANBackbone', reduction=4, refine='bottleneck')


def main_rows(mila: Row, slow: Row, fast: Row) -> tuple[Row, ...]:
    """Return what decides most: MILA without its parts, and its networks alone."""
    return (
        mila,
        mila.changed('MILA w/o MF', {'model.neck.multi_frame': False}),
        mila.changed('MILA w/o TS', {'model.neck.task_specific': False}),
        mila.changed('MILA w/o MF&TS', PLAIN),
        mila.changed('ILA without alignment', UNALIGNED),
        mila.changed('ILA, L1 only', {**PLAIN, **L1_ONLY}),
        slow,
        fast,
        mila.changed('MultiNet++', {**CONCAT, **NO_ALIGNMENT}),
    )


def video_rows(
    mila: Row, slow: Row, fast: Row, deeper: Row | None = None, alone: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[Row, ...]:
    """Return the rows of MILA's tables 1, 3, 4, 5 and 6.

    Args:
        mila, slow, fast: MILA and its networks alone.
        deeper: MILA with the fast network of its D101-34.
        alone: {task: `start` of the slow network for this task alone}; by default it starts as for all.
    """
    rows = [
        *main_rows(mila, slow, fast),
        mila.changed('concatenation, L1 only', {**CONCAT, **L1_ONLY}),
        mila.changed('SVC', {'model.neck': dict(type='SVCNeck')}),
        *(mila.changed(f'window {size}', {'model.neck.window': size}) for size in ('global', 3, 7, 15)),
        slow.changed('MTAN', {'model.task_backbone': MTAN, 'model.neck': None}),
        slow.changed('cross-stitch', {'model.task_backbone': dict(type='CrossStitchBackbone'), 'model.neck': None}),
        *(
            replace(slow.changed(f'slow only, {task}', tasks=(task,)), start=(alone or {}).get(task, slow.start))
            for task in TASKS
        ),
    ]
    networks = {'': mila} if deeper is None else {'': mila, ', deeper fast network': deeper}
    for network, row in networks.items():
        for interval in (5, 10):
            for kind, neck in (('ILA', {}), ('flow', FLOW)):
                changes = {**neck, 'key_frame_interval': interval}
                rows.append(row.changed(f'{kind}, semseg, K = {interval}{network}', changes, ('semseg',)))
    return tuple(rows)


def width(network: str, channels: int) -> Options:
    """Return options that give a ResNet of a model so many channels in its stem and in its first stage."""
    return {f'model.{network}.backbone.{part}': channels for part in ('stem_channels', 'base_channels')}


def image_rows(size: str, narrow: Options, pad_net: Options, atrc: Options) -> tuple[Row, ...]:
    """Return the rows of SCA-MTL's tables 1, 2 and 5; the options make the decoders narrow."""

    def row(name: str, folder: str, method: str, options: Options | None = None) -> Row:
        return Row(name, f'configs/{folder}/{method}_mbv2_{size}.py', {**narrow, **(options or {})})

    attention = {'model.neck': dict(type='SelfAttentionNeck', num_heads=8)}
    fpma = {**attention, 'model.decode_head.propagation': dict(type='FPMA')}
    ctam = {
        **fpma,
        'model.decode_head.exchange': dict(type='CTAM'),
        'model.decode_head.propagated': 'augmented',
    }
    student = {
        'model.type': 'StudentSegmentor',
        'model.neck': None,
        'model.decode_head.head_blocks': 1,
        'model.distillation': dict(type='DistillationLoss'),
    }
    single = row('single-task', 'baselines', 'multi-task')
    both = [
        row('SCA', 'sca', 'sca'),
        row('multi-task', 'baselines', 'multi-task'),
        row('MTI-Net', 'mti_net', 'mti-net'),
        row('ATRC', 'atrc', 'atrc', atrc),
        row('PAD-Net', 'pad_net', 'pad-net', pad_net),
    ]
    alone = [row('MTI-Net + attention', 'mti_net', 'mti-net', attention)]
    alone += [row('MTI-Net + attention, FPMA', 'mti_net', 'mti-net', fpma)]
    alone += [row('MTI-Net + attention, FPMA, CTAM', 'mti_net', 'mti-net', ctam)]
    alone += [replace(row('SCA student', 'sca', 'sca', student), teacher='SCA, 2 tasks')]
    two = ('semseg', 'depth')
    return (
        *(one.changed(f'{one.name}, 2 tasks', tasks=two) for one in both),
        *(single.changed(f'single-task, {task}', tasks=(task,)) for task in TASKS),
        *(one.changed(one.name, tasks=two) for one in alone),
        *(one.changed(f'{one.name}, 3 tasks', tasks=TASKS) for one in both),
    )
