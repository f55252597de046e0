"""What a run shows before its first iteration, and loaders without a batch."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

import mmmtl
from mmmtl.engine import build_runner
from mmmtl.engine.checked_runner import is_for_screen

from .conftest import MakeConfig


@pytest.fixture
def lines(make_config: MakeConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> tuple[list[str], str]:
    """What a run of one iteration shows, and its log file."""
    options = {'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1, 'train_dataloader.dataset.num_videos': 1}
    cfg = make_config('tiny_image', 'run', **options)
    cfg.log_level = 'INFO'
    build_runner(cfg).train()
    (log,) = (tmp_path / 'run').glob('*/*.log')
    shown = capsys.readouterr()
    return (shown.out + shown.err).splitlines(), log.read_text()


def test_the_screen_shows_a_summary_and_the_file_everything(lines: tuple[list[str], str]) -> None:
    shown, log = lines
    first = next(number for number, line in enumerate(shown) if 'Iter(train)' in line)
    assert first <= 12
    start = '\n'.join(shown[:first])
    for what in (
        'model: MultiTaskSegmentor, 47,159 parameters',
        'tasks: semseg (SemanticSegmentation), depth (DepthEstimation), normals (SurfaceNormals)',
        'train: SyntheticVideo, 5 samples, batches of 2',
        'val: SyntheticVideo, 5 samples, batches of 3',
        'schedule: 1 iterations with Adam, validated every 1 iterations',
        'device: cpu',
        'run (config and environment are in the log file)',
    ):
        assert what in start
    assert 'optim_wrapper' in log and 'System environment' in log and 'Hooks will be executed' in log
    assert 'optim_wrapper' not in start and 'environment:' not in start


def test_looking_for_a_component_shows_nothing() -> None:
    code = (
        'from mmmtl.config import load_config\nfrom mmmtl.registry import registries\n'
        "print([one.name for one in registries() if one.get('Nothing') is not None])"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ('[]\n', '')


def test_a_run_writes_when_it_started(make_config: MakeConfig, tmp_path: Path) -> None:
    build_runner(make_config('tiny_image', 'run'))
    (path,) = (tmp_path / 'run').glob('*/vis_data/config.py')
    started = datetime.fromisoformat(Config.fromfile(path).started)
    assert timedelta(0) < datetime.now(timezone.utc) - started < timedelta(minutes=1)


@pytest.mark.parametrize(
    ('level', 'text', 'shown'),
    [
        (logging.INFO, 'one line', True),
        (logging.INFO, 'two\nlines', False),
        (logging.WARNING, 'a warning\nof two lines', True),
        (logging.WARNING, '"FileClient" will be deprecated in future.', False),
    ],
)
def test_what_is_for_the_screen(level: int, text: str, shown: bool) -> None:
    assert is_for_screen(logging.LogRecord('x', level, 'x', 1, text, None, None)) is shown


def test_a_module_keeps_its_line_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'noisy_module.py').write_text('print("noise")\nprint("a fact")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(mmmtl._quiet_imports.PRINTED, 'noisy_module', 'noise')
    importlib.import_module('noisy_module')
    assert capsys.readouterr().out == 'a fact\n'


def test_a_compiler_without_a_gpu_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger('torch.utils.cpp_extension')
    logger.addHandler(caplog.handler)
    logger.warning("No CUDA runtime is found, using CUDA_HOME='%s'", '/usr/local/cuda')
    logger.warning('another')
    logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {'another'}


@pytest.mark.slow
def test_imports_are_quiet() -> None:
    code = 'import mmmtl, mmseg.models, mmseg.datasets; print("done")'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout == 'done\n'
    assert 'MultiScaleDeformableAttention' not in run.stderr


@pytest.mark.parametrize(
    ('name', 'options', 'words'),
    [
        (
            'tiny_video_epochs',
            {'train_dataloader.batch_size': 99},
            r'train_dataloader: 15 .*99.*drop_last=False',
        ),
        ('tiny_video', {'val_dataloader.batch_size': 99, 'val_dataloader.drop_last': True}, 'val_dataloader'),
        (
            'tiny_image',
            {'train_dataloader.sampler.type': 'EpochDrawSampler', 'train_dataloader.batch_size': 99},
            'train_dataloader: .*99',
        ),
    ],
)
def test_a_loader_without_a_batch_is_refused_before_training(
    make_config: MakeConfig, tmp_path: Path, name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        build_runner(make_config(name, 'run', **options)).train()
    assert not list((tmp_path / 'run').glob('*.pth'))
