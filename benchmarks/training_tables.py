"""The training tables: rows that are trained with one recipe.

`training_papers.py` says which row of which table of a paper each of them stands for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from training_rows import (
    PLAIN,
    TASKS,
    UNALIGNED,
    Options,
    Row,
    image_rows,
    main_rows,
    video_rows,
    width,
)


@dataclass(frozen=True)
class Table:
    """Rows that are trained alike.

    Args:
        name: name of the table.
        paper: the paper whose tables it stands for, 'MILA' or 'SCA-MTL'.
        about: data and networks, for the report.
        rows: the most decisive first, in the order of training.
        reference: the row whose initial weights all others take over, where name and shape agree.
        iterations: iterations of a run, by default.
        recipe: changes of the config of every row, by dotted key.
        pretraining: rows whose trained backbones others start from.
    """

    name: str
    paper: str
    about: str
    rows: tuple[Row, ...]
    reference: str
    iterations: int
    recipe: Options = field(default_factory=dict)
    pretraining: tuple[Row, ...] = ()

    def row(self, name: str) -> Row:
        """Return the row of a name."""
        return next(row for row in (*self.rows, *self.pretraining) if row.name == name)


AVERAGED: Options = {
    'custom_hooks': [dict(type='EMAHook', momentum=0.003, update_buffers=True)],
    'val_evaluator': dict(type='MultiTaskMetric'),
}
"""An average of the weights over some 300 iterations is scored, with the scores of each offset."""

GPU: Options = {
    'train_dataloader.batch_size': 16,
    'optim_wrapper.type': 'AmpOptimWrapper',
    'optim_wrapper.dtype': 'bfloat16',
    'train_dataloader.num_workers': 12,
    **AVERAGED,
}

TINY_MILA = Row('MILA', 'configs/mila/mila_tiny-k5_1xb8-demo_synthetic-64x128.py')
TINY_FAST = Row(
    'fast only',
    'configs/baselines/multi-task_tiny-fast_1xb8-demo_synthetic-64x128.py',
    shares={'backbone': 'fast_backbone'},
)

HALF_SIZE: Options = {
    f'{loader}.dataset.pipeline.2.size': (144, 192)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
}
NARROW: Options = {
    'model.backbone': dict(
        type='AlignedBackbone',
        backbone=dict(
            type='MobileNetV2',
            out_indices=(1, 2, 4, 6),
            init_cfg=dict(type='Pretrained', checkpoint='data/weights/mobilenet_v2_imagenet.pth'),
        ),
        channels=(16, 24, 32, 32),
    )
}

NARROW_ROWS = image_rows(
    '1xb4-2k_nyuv2-288x384',
    NARROW,
    pad_net={'model.decode_head.channels': 64},
    atrc={'model.decode_head.channels': 64},
)
NARROW_MULTI_TASK, NARROW_MTI_NET = (
    next(row for row in NARROW_ROWS if row.name == name) for name in ('multi-task, 2 tasks', 'MTI-Net, 2 tasks')
)
WIDER: Options = {'model.backbone.channels': (32, 48, 64, 64)}


def backbones_on(data: str, slow_tasks: str = 'multi-task') -> tuple[Row, Row, Row]:
    """Return MILA, slow only and fast only with ResNet-50 and MobileNetV2."""
    recipe = f'1xb4-2k_{data}'
    return (
        Row('MILA', f'configs/mila/mila_r50-mbv2-k5_{recipe}.py'),
        Row('slow only', f'configs/baselines/{slow_tasks}_r50_{recipe}.py'),
        Row('fast only', f'configs/baselines/{slow_tasks}_mbv2_{recipe}.py', shares={'backbone': 'fast_backbone'}),
    )


def supposed_rows(mila: Row) -> tuple[Row, ...]:
    """Return MILA with more training on key frames, and ILA that copies the key frame's features."""
    return (
        mila.changed('MILA, 60 % key frames', {'train_dataloader.dataset.clip.key_frames': 0.6}),
        mila.changed('ILA without alignment, 1x1', {**UNALIGNED, 'model.neck.window': 1}),
    )


TINY_SLOW = Row('slow only', TINY_FAST.config, width('backbone', 32))
TINY_ROWS = main_rows(TINY_MILA, TINY_SLOW, TINY_FAST)
WIDE: Options = width('fast_backbone', 16)
WIDE_FAST = TINY_FAST.changed('fast only', width('backbone', 16))

SLOW, FAST, DEEP, MIDDLE = (f'pre-training, {network} network' for network in ('slow', 'fast', 'deeper fast', 'middle'))
OTHER_VIDEOS: Options = {'train_dataloader.dataset.split': 'test'}
PRETRAINED_MILA = replace(TINY_MILA.changed('MILA', WIDE), start={'backbone': SLOW, 'fast_backbone': FAST})
PRETRAINED_SLOW = replace(TINY_SLOW, start={'backbone': SLOW})
PRETRAINED_ROWS = video_rows(
    PRETRAINED_MILA,
    PRETRAINED_SLOW,
    replace(WIDE_FAST, start={'backbone': FAST}),
    deeper=replace(
        PRETRAINED_MILA.changed('MILA, deeper fast network', {'model.fast_backbone.backbone.depth': 34}),
        start={'backbone': SLOW, 'fast_backbone': DEEP},
    ),
    alone={task: {'backbone': f'{SLOW}, {task}'} for task in TASKS},
)
MIDDLE_ROW = TINY_SLOW.changed('image network at the cost of MILA', width('backbone', 22))

NEARLY_STILL: Options = {
    'train_dataloader.dataset.num_videos': 200,
    'val_dataloader.dataset.num_videos': 64,
    **AVERAGED,
}
MOVING: Options = {
    **NEARLY_STILL,
    **{f'{loader}.dataset.frame_step': 5 for loader in ('train_dataloader', 'val_dataloader')},
}
ABOUT = (
    'SyntheticVideo at 64x128, motion {motion} (200 training videos, 64 for validation), three tasks; two ResNet-18 '
    'with 32 and {channels} base channels at output stride 8, {start}; depth has weight 0.3, beta is 0.1 (the paper: '
    '1); {passes} passes over the training frames with a learning rate of 2e-3 (the paper: 50 with 1e-4)'
)
TINY_VIDEO = Table(
    'video-tiny',
    'MILA',
    ABOUT.format(
        motion='x5',
        channels=16,
        start='pre-trained on 200 other videos, alone and for all three tasks',
        passes=16,
    ),
    (
        *PRETRAINED_ROWS,
        *supposed_rows(PRETRAINED_MILA),
        replace(
            PRETRAINED_MILA.changed('MILA, slow network trained first'),
            start={'backbone': 'slow only', 'fast_backbone': FAST},
        ),
        replace(PRETRAINED_SLOW.changed('slow only, trained twice'), start={'backbone': 'slow only'}),
        PRETRAINED_MILA.changed(
            'MILA w/o propagation',
            {'model.neck': dict(type='NoPropagationNeck', task_specific=True, reduction=16)},
        ),
        replace(MIDDLE_ROW, start={'backbone': MIDDLE}),
        replace(
            PRETRAINED_MILA.changed('MILA, large fast network', width('fast_backbone', 32)),
            start={'backbone': SLOW, 'fast_backbone': SLOW},
        ),
        PRETRAINED_MILA.changed('MILA w/o MF&TS, beta 1', {**PLAIN, 'model.align_loss.beta': 1}),
    ),
    reference='MILA',
    iterations=2000,
    recipe=MOVING,
    pretraining=(
        TINY_SLOW.changed(SLOW, OTHER_VIDEOS),
        WIDE_FAST.changed(FAST, OTHER_VIDEOS),
        WIDE_FAST.changed(DEEP, {**OTHER_VIDEOS, 'model.backbone.backbone.depth': 34}),
        MIDDLE_ROW.changed(MIDDLE, OTHER_VIDEOS),
        *(TINY_SLOW.changed(f'{SLOW}, {task}', OTHER_VIDEOS, (task,)) for task in TASKS),
    ),
)
FROM_SCRATCH = Table(
    'video-tiny-scratch',
    'MILA',
    ABOUT.format(motion='x5', channels=2, start='from random weights', passes=24),
    (
        *TINY_ROWS,
        replace(
            TINY_MILA.changed('ILA without alignment, slow network pre-trained', UNALIGNED),
            start={'backbone': 'slow only'},
        ),
        TINY_MILA.changed('MILA, wider fast network', WIDE),
        TINY_MILA.changed('MILA w/o MF&TS, wider fast network', {**PLAIN, **WIDE}),
        TINY_MILA.changed('ILA without alignment, wider fast network', {**UNALIGNED, **WIDE}),
        WIDE_FAST.changed('fast only, wider'),
    ),
    reference='MILA',
    iterations=3000,
    recipe=MOVING,
)
STILL = Table(
    'video-tiny-still',
    'MILA',
    ABOUT.format(motion='of half a pixel from frame to frame', channels=2, start='from random weights', passes=12),
    (
        *TINY_ROWS,
        *supposed_rows(TINY_MILA),
        TINY_MILA.changed('ILA without alignment or SE', {**UNALIGNED, 'model.neck.reduction': None}),
    ),
    reference='MILA',
    iterations=1500,
    recipe=NEARLY_STILL,
)

IMAGE_RECIPE: Options = {
    **HALF_SIZE,
    **AVERAGED,
    'optim_wrapper.optimizer.lr': 1e-3,
    'train_dataloader.num_workers': 0,
    'val_dataloader.num_workers': 0,
}
ABOUT_IMAGES = (
    'NYU Depth v2 at 144x192, official split and window, derived normals; ImageNet MobileNetV2, decoders of at most 64 '
    'channels a scale; {passes} passes over the training images with a learning rate of 1e-3 (the paper: 100 with 1e-4)'
)
RATES = {'3e-4': 3e-4, '3e-3': 3e-3}

ALL_TABLES = (
    TINY_VIDEO,
    FROM_SCRATCH,
    STILL,
    Table(
        'image-tiny',
        'SCA-MTL',
        ABOUT_IMAGES.format(passes='twelve'),
        (
            *NARROW_ROWS,
            NARROW_MULTI_TASK.changed('multi-task, twice as wide, 2 tasks', WIDER),
            NARROW_MTI_NET.changed('MTI-Net, twice as wide, 2 tasks', WIDER),
            NARROW_MTI_NET.changed('MTI-Net w/o propagation, 2 tasks', {'model.decode_head.propagation': None}),
            NARROW_MTI_NET.changed('MTI-Net, entry at the output, 2 tasks', {'model.decode_head.entry': 'output'}),
            NARROW_MTI_NET.changed('MTI-Net w/o preliminary losses, 2 tasks', {'model.preliminary_weight': 0}),
            NARROW_MTI_NET.changed(
                'MTI-Net, entry at the output, w/o preliminary losses, 2 tasks',
                {'model.decode_head.entry': 'output', 'model.preliminary_weight': 0},
            ),
            NARROW_MTI_NET.changed(
                'MTI-Net, residual blocks alone, 2 tasks',
                {
                    'model.decode_head.propagation': None,
                    'model.decode_head.exchange': None,
                    'model.preliminary_weight': 0,
                },
            ),
            *(
                row.changed(f'{name}, learning rate {text}, 2 tasks', {'optim_wrapper.optimizer.lr': rate})
                for text, rate in RATES.items()
                for name, row in (('multi-task', NARROW_MULTI_TASK), ('MTI-Net', NARROW_MTI_NET))
            ),
        ),
        reference='SCA, 3 tasks',
        iterations=2400,
        recipe=IMAGE_RECIPE,
    ),
    Table(
        'image-tiny-long',
        'SCA-MTL',
        ABOUT_IMAGES.format(passes='24'),
        tuple(row for row in NARROW_ROWS if row.name.endswith(', 2 tasks')),
        reference='SCA, 2 tasks',
        iterations=4800,
        recipe=IMAGE_RECIPE,
    ),
    Table(
        'video',
        'MILA',
        'house_video at 256x384, three tasks; ImageNet ResNet-50 and MobileNetV2; needs a GPU',
        video_rows(*backbones_on('house-256x384')),
        reference='MILA',
        iterations=4000,
        recipe=GPU,
    ),
    Table(
        'video-camvid',
        'MILA',
        'CamVid at 360x480, segmentation; ImageNet ResNet-50 and MobileNetV2; needs a GPU',
        main_rows(*backbones_on('camvid-360x480', 'single-task')),
        reference='MILA',
        iterations=4000,
        recipe=GPU,
    ),
    Table(
        'image',
        'SCA-MTL',
        'NYU Depth v2 at 288x384, official split and window, derived normals; ImageNet MobileNetV2; needs a GPU',
        image_rows('1xb4-2k_nyuv2-288x384', {}, {}, {}),
        reference='SCA, 3 tasks',
        iterations=4000,
        recipe=GPU,
    ),
)
TABLES = {table.name: table for table in ALL_TABLES}
