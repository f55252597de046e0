"""The tables of both papers: what they print, which runs stand for their rows, and the orders that they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training_tables import Table

from mmmtl.evaluation import PUBLISHED

Values = tuple[float | None, ...]


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper.

    Args:
        paper: 'MILA' or 'SCA-MTL'.
        number: number of the table.
        title: what it compares, and on which data.
        columns: `<task>/<metric>` or `delta_m`.
        values: {row: what is printed in these columns}.
        runs: {row: rows of our tables whose metrics stand for it}; a row without them is not trained here.
        orders: pairs (row, other row) whose order the table shows; its direction is that of the printed values.
        note: what differs here, or why the table is not run and what stands for it.
    """

    paper: str
    number: int
    title: str
    columns: tuple[str, ...] = ()
    values: Mapping[str, Values] = field(default_factory=dict)
    runs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    orders: tuple[tuple[str, str], ...] = ()
    note: str = ''


def against(ours: str, others: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of one row and each of some others."""
    return tuple((ours, other) for other in others)


PRIMARY = ('semseg/mIoU', 'depth/abs_err', 'normals/mean')
SINGLE = ('slow only, semseg', 'slow only, depth', 'slow only, normals')

MILA_1: dict[str, Values] = {
    'D101-SingleTask': (37.2, 39.3, 22.8),
    'D101-MultiTask': (37.1, 39.0, 23.7),
    'MTAN-Seg.': (17.7, 59.0, 31.4),
    'Cross-Stitch-Seg.': (14.7, 64.8, 33.6),
    'MTAN*': (37.1, 40.0, 23.9),
    'Cross-Stitch*': (37.5, 39.5, 22.7),
    'MultiNet++*': (32.8, 41.1, 24.4),
    'MILA w/o MF&TS': (36.6, 39.2, 23.5),
    'MILA w/o TS': (37.0, 38.9, 23.3),
    'MILA': (38.1, 38.6, 23.2),
}

MILA_TABLES = (
    PaperTable(
        'MILA',
        1,
        'multi-task learning from videos, NYU Depth v2',
        PRIMARY,
        MILA_1,
        {
            'D101-SingleTask': SINGLE,
            'D101-MultiTask': ('slow only',),
            'MTAN*': ('MTAN',),
            'Cross-Stitch*': ('cross-stitch',),
            'MultiNet++*': ('MultiNet++',),
            'MILA w/o MF&TS': ('MILA w/o MF&TS',),
            'MILA w/o TS': ('MILA w/o TS',),
            'MILA': ('MILA',),
        },
        (
            *against('MILA', [row for row in MILA_1 if row != 'MILA' and '-Seg.' not in row]),
            ('MILA w/o TS', 'MILA w/o MF&TS'),
        ),
        'The paper prints 100 times the depth error. Its rows on SegNet are not trained here.',
    ),
    PaperTable('MILA', 2, 'the same on Cityscapes', note='Cityscapes needs a licence. Table 1 stands for it.'),
    PaperTable(
        'MILA',
        3,
        'alignment losses, Cityscapes',
        PRIMARY[:2],
        {
            'nothing': (61.6, 1.08),
            'L1': (61.8, 1.07),
            'ILA': (61.9, 1.08),
            'L1, ILA': (63.3, 1.05),
            'L1, adversarial, ILA': (63.8, 1.05),
        },
        {
            'nothing': ('MultiNet++',),
            'L1': ('concatenation, L1 only',),
            'ILA': ('ILA without alignment',),
            'L1, ILA': ('ILA, L1 only',),
            'L1, adversarial, ILA': ('MILA w/o MF&TS',),
        },
        (
            *against('L1, adversarial, ILA', ('L1, ILA', 'ILA', 'nothing')),
            *(('L1, ILA', 'ILA'), ('ILA', 'nothing'), ('L1', 'nothing')),
        ),
        'The paper prints 100 times the error in disparity. Its last row is MILA w/o MF&TS of table 2. Here the rows '
        'without ILA concatenate features, and have no SE block either.',
    ),
    PaperTable(
        'MILA',
        4,
        'window of the attention, Cityscapes',
        PRIMARY[:2],
        {
            '3x3': (64.1, 1.02),
            '5x5': (64.3, 1.02),
            '7x7': (64.2, 1.02),
            '15x15': (64.0, 1.04),
            'global': (62.4, 1.10),
        },
        {
            **{f'{size}x{size}': (f'window {size}',) for size in (3, 7, 15)},
            '5x5': ('MILA',),
            'global': ('window global',),
        },
        against('5x5', ('3x3', '7x7', '15x15', 'global')),
        'Maps are 8x16 here and 32x64 there, so a window of the same side covers up to 16 times as much of them.',
    ),
    PaperTable(
        'MILA',
        5,
        'propagation for segmentation alone, Cityscapes',
        PRIMARY[:1],
        {
            'flow, K = 5': (72.1,),
            'ILA, K = 5': (73.2,),
            'flow, K = 10': (69.8,),
            'ILA, K = 10': (72.1,),
            'flow, K = 5, D101-34': (72.4,),
            'ILA, K = 5, D101-34': (74.3,),
            'flow, K = 10, D101-34': (70.1,),
            'ILA, K = 10, D101-34': (73.8,),
        },
        {
            f'{kind}, K = {interval}{paper}': (f'{kind}, semseg, K = {interval}{here}',)
            for kind in ('flow', 'ILA')
            for interval in (5, 10)
            for paper, here in (('', ''), (', D101-34', ', deeper fast network'))
        },
        tuple(
            (f'ILA, K = {interval}{network}', f'flow, K = {interval}{network}')
            for network in ('', ', D101-34')
            for interval in (5, 10)
        ),
        'The flow here is DIS, not FlowNet-S. ILA also reads the last non-key frame, as in MILA, and the flow does '
        "not; both are trained with MILA's alignment. K = 10 is scored on the frames that have nine before them.",
    ),
    PaperTable(
        'MILA',
        6,
        'ILA and spatially variant convolution, NYU Depth v2',
        PRIMARY[:2],
        {'SVC': (35.7, 40.3), 'ILA': (36.6, 39.2)},
        {'SVC': ('SVC',), 'ILA': ('MILA w/o MF&TS',)},
        (('ILA', 'SVC'),),
        'The paper prints 100 times the depth error.',
    ),
    PaperTable(
        'MILA',
        7,
        'cost of each propagation at the sizes of Cityscapes',
        note='Costs alone, nothing is trained; configs/mila/README.md counts them at both sizes.',
    ),
)


def sca_table(
    number: int,
    title: str,
    runs: Mapping[str, tuple[str, ...]],
    ours: str,
    orders: tuple[tuple[str, str], ...],
    note: str = '',
) -> PaperTable:
    """Return a table of SCA-MTL, whose orders are those of one row and each other row, and some more."""
    published = PUBLISHED[f'sca_table{number}']
    values: dict[str, Values] = dict(published.rows)
    orders = (*against(ours, [row for row in values if row != ours]), *orders)
    return PaperTable('SCA-MTL', number, title, (*published.columns, 'delta_m'), values, runs, orders, note)


def decoders(tasks: str) -> dict[str, tuple[str, ...]]:
    """Return the runs of the rows that tables 1 and 2 have in common."""
    rows = {'multi-task': 'multi-task', 'PAD-Net': 'PAD-Net', 'MTI-Net': 'MTI-Net', 'ATRC': 'ATRC'}
    return {row: (f'{run}, {tasks}',) for row, run in rows.items()}


ATRC_CONTEXTS = 'ATRC has global context for every pair of tasks here; the paper does not say which contexts it had.'
OVER_MULTI_TASK = tuple((row, 'multi-task') for row in ('PAD-Net', 'MTI-Net', 'ATRC'))
SCA_TABLES = (
    sca_table(
        1,
        'two tasks, NYU Depth v2',
        {
            'single task': ('single-task, semseg', 'single-task, depth'),
            **decoders('2 tasks'),
            'SCA-MTL student': ('SCA student',),
            'SCA-MTL teacher': ('SCA, 2 tasks',),
        },
        'SCA-MTL teacher',
        (*OVER_MULTI_TASK, ('SCA-MTL student', 'multi-task')),
        ATRC_CONTEXTS,
    ),
    sca_table(
        2,
        'three tasks, NYU Depth v2',
        {
            'single task': ('single-task, semseg', 'single-task, depth', 'single-task, normals'),
            **decoders('3 tasks'),
            'SCA-MTL': ('SCA, 3 tasks',),
        },
        'SCA-MTL',
        OVER_MULTI_TASK,
        ATRC_CONTEXTS,
    ),
    PaperTable('SCA-MTL', 3, 'two tasks, PASCAL-Context', note='PASCAL is not at hand here. Table 1 stands for it.'),
    PaperTable('SCA-MTL', 4, 'three tasks, PASCAL-Context', note='PASCAL is not at hand here. Table 2 stands for it.'),
    sca_table(
        5,
        'modules one by one, NYU Depth v2',
        {
            'MTI-Net': ('MTI-Net, 2 tasks',),
            '+ self-attention': ('MTI-Net + attention',),
            '+ FPMA': ('MTI-Net + attention, FPMA',),
            '+ CTAM': ('MTI-Net + attention, FPMA, CTAM',),
            '+ CSAM': ('SCA, 2 tasks',),
        },
        '+ CSAM',
        (('+ self-attention', 'MTI-Net'), ('+ FPMA', '+ self-attention'), ('+ CTAM', '+ FPMA')),
        "From + FPMA on, the mask of the propagation is a softmax over the tasks, as in MTI-Net's paper; before, as in "
        'the code of MTI-Net, one over adjacent channels. The last row is the whole SCA-MTL: besides CSAM, its '
        'propagated features enter at the output of the heads, and its final predictions have no hidden layer.',
    ),
)
PAPERS = {'MILA': MILA_TABLES, 'SCA-MTL': SCA_TABLES}


@dataclass(frozen=True)
class Supposition:
    """An order that no table of a paper has, but that something supposed of the methods, or of our runs, predicts.

    Args:
        text: what is supposed.
        orders: pairs of our rows, of which it makes the first better.
        metrics: metrics that decide it.
    """

    text: str
    orders: tuple[tuple[str, str], ...]
    metrics: tuple[str, ...] = (*PRIMARY, 'offset_0/semseg/mIoU')


IMAGE_PRIMARY = ('semseg/mIoU', 'depth/rmse')
KEY_FRAME_ORDERS = (('MILA, 60 % key frames', 'MILA'), ('MILA, 60 % key frames', 'slow only'))
BETWEEN = tuple(f'non_key/{metric}' for metric in PRIMARY)
PROPAGATION = (
    Supposition('Between key frames, MILA is better than its fast network alone', (('MILA', 'fast only'),), BETWEEN),
    Supposition('Several frames help without several tasks', (('MILA', 'MILA w/o MF'),)),
)
SUPPOSITIONS: dict[str, tuple[Supposition, ...]] = {
    'video': PROPAGATION,
    'video-camvid': PROPAGATION,
    'video-tiny': (
        *PROPAGATION,
        Supposition('More training on key frames brings MILA to its slow network', KEY_FRAME_ORDERS),
        Supposition(
            'MILA trains its slow network too little; it comes closer if this was trained alone before',
            (
                ('MILA, slow network trained first', 'MILA'),
                ('MILA, slow network trained first', 'slow only'),
                ('MILA, slow network trained first', 'slow only, trained twice'),
            ),
        ),
        Supposition(
            'What helps between key frames is propagation, not the training beside a slow network',
            (('MILA', 'MILA w/o propagation'),),
            BETWEEN,
        ),
        Supposition(
            'Training beside a slow network helps the fast one, even without propagation',
            (('MILA w/o propagation', 'fast only'),),
            BETWEEN,
        ),
        Supposition(
            'MILA is better than an image network of its cost',
            (('MILA', 'image network at the cost of MILA'),),
            PRIMARY,
        ),
        Supposition(
            'MILA is behind its slow network between key frames because its fast network is small; one of the same '
            'size closes the gap',
            (('MILA, large fast network', 'MILA'), ('MILA, large fast network', 'slow only')),
            BETWEEN,
        ),
        Supposition(
            'Alignment and ILA help normals, too, which the table on them does not have',
            (('MILA w/o MF&TS', 'ILA without alignment'), ('MILA w/o MF&TS', 'MultiNet++')),
            ('normals/mean',),
        ),
        Supposition('A beta of 0.1 is too small', (('MILA w/o MF&TS, beta 1', 'MILA w/o MF&TS'),)),
        Supposition('Motion needs attention over a window', (('ILA without alignment', 'ILA without alignment, 1x1'),)),
    ),
    'image-tiny': (
        Supposition(
            'MTI-Net is behind the multi-task baseline because its decoder is narrow; as wide as that of SCA-MTL, '
            'whose self-attention doubles the channels, it is not',
            (
                ('MTI-Net, twice as wide, 2 tasks', 'MTI-Net, 2 tasks'),
                ('MTI-Net, twice as wide, 2 tasks', 'multi-task, twice as wide, 2 tasks'),
            ),
            IMAGE_PRIMARY,
        ),
        Supposition(
            'MTI-Net is behind because its feature propagation learns slowly; without it, it is ahead',
            (
                ('MTI-Net w/o propagation, 2 tasks', 'MTI-Net, 2 tasks'),
                ('MTI-Net w/o propagation, 2 tasks', 'multi-task, 2 tasks'),
            ),
            IMAGE_PRIMARY,
        ),
        Supposition(
            'MTI-Net is behind because its propagated features enter the task heads at their input, where the first '
            'block has no identity shortcut',
            (
                ('MTI-Net, entry at the output, 2 tasks', 'MTI-Net, 2 tasks'),
                ('MTI-Net, entry at the output, 2 tasks', 'multi-task, 2 tasks'),
            ),
            IMAGE_PRIMARY,
        ),
        Supposition(
            'Propagation helps MTI-Net if it enters the task heads at the output',
            (('MTI-Net, entry at the output, 2 tasks', 'MTI-Net w/o propagation, 2 tasks'),),
            IMAGE_PRIMARY,
        ),
        Supposition(
            'MTI-Net is behind because the losses of its preliminary predictions take weight from the final ones',
            (
                ('MTI-Net w/o preliminary losses, 2 tasks', 'MTI-Net, 2 tasks'),
                ('MTI-Net w/o preliminary losses, 2 tasks', 'multi-task, 2 tasks'),
            ),
            IMAGE_PRIMARY,
        ),
        Supposition(
            'The entry of propagated features and the preliminary losses together put MTI-Net behind',
            (
                (
                    'MTI-Net, entry at the output, w/o preliminary losses, 2 tasks',
                    'MTI-Net, entry at the output, 2 tasks',
                ),
                ('MTI-Net, entry at the output, w/o preliminary losses, 2 tasks', 'multi-task, 2 tasks'),
            ),
            IMAGE_PRIMARY,
        ),
        Supposition(
            'The residual blocks of MTI-Net, with random weights on pre-trained maps, which the multi-task '
            'baseline lacks, put it behind by themselves',
            (('multi-task, 2 tasks', 'MTI-Net, residual blocks alone, 2 tasks'),),
            IMAGE_PRIMARY,
        ),
        *(
            Supposition(
                f'MTI-Net is behind because a learning rate of 1e-3 is {why}',
                (
                    (f'MTI-Net, learning rate {rate}, 2 tasks', 'MTI-Net, 2 tasks'),
                    (f'MTI-Net, learning rate {rate}, 2 tasks', 'multi-task, 2 tasks'),
                    (f'MTI-Net, learning rate {rate}, 2 tasks', f'multi-task, learning rate {rate}, 2 tasks'),
                ),
                IMAGE_PRIMARY,
            )
            for rate, why in (
                ('3e-4', 'too high for its many losses'),
                ('3e-3', 'too low for its many layers with random weights'),
            )
        ),
        Supposition(
            'SCA-MTL is better than others with a decoder of its width',
            (
                ('SCA, 2 tasks', 'multi-task, twice as wide, 2 tasks'),
                ('SCA, 2 tasks', 'MTI-Net, twice as wide, 2 tasks'),
            ),
            IMAGE_PRIMARY,
        ),
    ),
    'video-tiny-scratch': (
        *PROPAGATION,
        Supposition(
            'Clips train a slow network from random weights too little, as only a fifth end in one of its frames: it '
            'must start trained',
            (
                ('ILA without alignment, slow network pre-trained', 'ILA without alignment'),
                ('ILA without alignment, slow network pre-trained', 'slow only'),
            ),
        ),
        Supposition(
            'A fast network of 2 base channels is too small for MILA; of 16 it is not',
            (
                ('MILA, wider fast network', 'MILA'),
                ('MILA, wider fast network', 'fast only, wider'),
                ('MILA, wider fast network', 'MILA w/o MF&TS, wider fast network'),
                ('MILA w/o MF&TS, wider fast network', 'ILA without alignment, wider fast network'),
            ),
        ),
    ),
    'video-tiny-still': (
        *PROPAGATION,
        Supposition('MILA lacks training on key frames, in which a fifth of its clips end', KEY_FRAME_ORDERS),
        Supposition(
            'Where hardly anything moves, training through a window of attention harms both networks',
            (('ILA without alignment, 1x1', 'ILA without alignment'), ('MultiNet++', 'ILA without alignment')),
        ),
        Supposition(
            'SE blocks, which MultiNet++ lacks, cost accuracy',
            (('ILA without alignment or SE', 'ILA without alignment'),),
        ),
    ),
}
"""By the name of the table whose runs are to decide them."""


def stands_for(table: Table, row: str) -> str:
    """Return which rows of the paper's tables a row of ours stands for, or which supposition it belongs to."""
    found = [
        f'{paper.paper} table {paper.number}, {name}'
        for paper in PAPERS[table.paper]
        for name, runs in paper.runs.items()
        if row in runs
    ]
    suppositions = [
        f'supposition: {supposition.text}'
        for supposition in SUPPOSITIONS.get(table.name, ())
        if any(row in order for order in supposition.orders)
    ]
    return '; '.join(found or suppositions)
