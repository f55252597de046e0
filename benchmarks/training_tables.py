"""The rows of the training tables: configs to compare, and their tasks."""

from __future__ import annotations

from dataclasses import dataclass

NYUV2 = '1xb4-2k_nyuv2-288x384'
HOUSE = '1xb4-2k_house-256x384'
CAMVID = '1xb4-2k_camvid-360x480'


@dataclass(frozen=True)
class Row:
    """A method: one model, or several whose metrics are listed together and whose costs add up.

    Args:
        name: of the method.
        config: its config file.
        models: `--tasks` of each of its models; None for one model of all tasks of the table.
        options: its `--cfg-options`.
    """

    name: str
    config: str
    models: tuple[str, ...] | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Methods that are trained alike.

    Args:
        tasks: of all models, for `--tasks`.
        metrics: the columns.
        rows: the methods; the first is the baseline of delta_m.
        offsets: `--offsets` of tools/test.py for the models of clips.
    """

    tasks: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    offsets: str | None = None


def image_table(tasks: str, metrics: tuple[str, ...]) -> Table:
    """Return the methods of the SCA-MTL paper, on NYUv2."""
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


def video_table() -> Table:
    """Return the rows of MILA's tables 1 to 6, on house_video."""
    tasks = 'semseg,depth,normals'
    slow = f'configs/baselines/multi-task_r50_{HOUSE}.py'
    mila = f'configs/mila/mila_r50-mbv2-k5_{HOUSE}.py'
    without_frames = ('model.neck.multi_frame=False', 'model.neck.task_specific=False')
    l1_alone = 'model.align_loss.beta=0'
    return Table(
        tasks,
        ('semseg/mIoU', 'depth/abs_err', 'normals/mean'),
        (
            Row('single-task', slow, models=tuple(tasks.split(','))),
            Row('multi-task (slow only)', slow),
            Row('fast only', f'configs/baselines/multi-task_mbv2_{HOUSE}.py'),
            Row('MTAN', f'configs/mtan/mtan_r50_{HOUSE}.py'),
            Row('cross-stitch', f'configs/cross_stitch/cross-stitch_r50_{HOUSE}.py'),
            Row('MultiNet++', f'configs/multinet_pp/multinet-pp_r50-mbv2-k5_{HOUSE}.py'),
            Row('MILA', mila),
            Row('MILA w/o TS', mila, options=('model.neck.task_specific=False',)),
            Row('MILA w/o MF&TS', mila, options=without_frames),
            Row('table 3: L1', mila, options=('model.neck.type=ConcatNeck', *without_frames, l1_alone)),
            Row('table 3: ILA', mila, options=(*without_frames, 'model.align_loss=None')),
            Row('table 3: L1, ILA', mila, options=(*without_frames, l1_alone)),
            Row('flow warp', f'configs/flow_warp/flow-warp_r50-mbv2-k5_{HOUSE}.py'),
            Row('SVC', f'configs/svc/svc_r50-mbv2-k5_{HOUSE}.py'),
            *(Row(f'window {size}', mila, options=(f'model.neck.window={size}',)) for size in (3, 7, 15, 'global')),
        ),
        offsets='all',
    )


def long_interval_table() -> Table:
    """Return propagation over ten frames of house_video, scored on frames that have ten before them."""
    options = ('key_frame_interval=10',)
    return Table(
        'semseg,depth,normals',
        ('semseg/mIoU', 'depth/abs_err', 'normals/mean'),
        (
            Row('multi-task (slow only)', f'configs/baselines/multi-task_r50_{HOUSE}.py', options=options),
            Row('MILA', f'configs/mila/mila_r50-mbv2-k5_{HOUSE}.py', options=options),
            Row('flow warp', f'configs/flow_warp/flow-warp_r50-mbv2-k5_{HOUSE}.py', options=options),
        ),
        offsets='all',
    )


def camvid_table() -> Table:
    """Return MILA for segmentation alone on CamVid, its slow and its fast network, and plain concatenation."""
    mila = f'configs/mila/mila_r50-mbv2-k5_{CAMVID}.py'
    without_frames = ('model.neck.multi_frame=False', 'model.neck.task_specific=False')
    concat = ('model.neck.type=ConcatNeck', *without_frames, 'model.align_loss=None')
    return Table(
        'semseg',
        ('semseg/mIoU', 'semseg/pixel_acc'),
        (
            Row('slow only', f'configs/baselines/single-task_r50_{CAMVID}.py'),
            Row('fast only', f'configs/baselines/single-task_mbv2_{CAMVID}.py'),
            Row('MultiNet++', mila, options=concat),
            Row('MILA w/o MF&TS', mila, options=without_frames),
            Row('MILA', mila),
        ),
        offsets='all',
    )


TABLES = {
    'image-2': image_table('semseg,depth', ('semseg/mIoU', 'depth/rmse')),
    'image-3': image_table('semseg,depth,normals', ('semseg/mIoU', 'depth/rmse', 'normals/mean')),
    'video': video_table(),
    'video-k10': long_interval_table(),
    'video-camvid': camvid_table(),
}
