"""One readable line in place of a traceback for what a user can get wrong."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmmtl._output import allow_closed_output
from mmmtl.cli.arguments import (
    add_common_arguments,
    add_config_arguments,
    add_fit_argument,
    add_inferencer_arguments,
    add_shown_range_argument,
    chosen_size,
    config_of,
    inferencer_options,
)
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import choices, device, not_negative, positive, positive_number
from mmmtl.config import resolve
from mmmtl.io import read_image
from mmmtl.models.segmentors.key_frame_policy import FrameChange
from mmmtl.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
# Those in tools/dev run other revisions of the package.
PROGRAMS = [
    path
    for folder in ('tools', 'demo')
    for path in sorted((ROOT / folder).rglob('*.py'))
    if "__name__ == '__main__'" in path.read_text() and path.parent.name != 'dev'
]


def test_an_argument_that_a_config_lacks_is_named() -> None:
    with pytest.raises(SystemExit, match=r"^FrameChange: its config lacks 'threshold'$"), readable_errors():
        MODELS.build(dict(type='FrameChange'))
    with pytest.raises(TypeError), readable_errors():
        FrameChange()


@pytest.mark.parametrize('path', PROGRAMS, ids=lambda path: path.name)
def test_every_program_has_readable_errors(path: Path) -> None:
    assert path.read_text().partition("if __name__ == '__main__':\n")[2].startswith('    with readable_errors():\n')


def test_the_sweep_finds_the_programs() -> None:
    assert len(PROGRAMS) > 20


@pytest.mark.parametrize('kind', [ValueError, OSError, FloatingPointError, ImportError])
def test_what_a_program_refuses(tmp_path: Path, kind: type[Exception]) -> None:
    (tmp_path / 'program.py').write_text(
        'from mmmtl.cli.errors import readable_errors\n'
        f'with readable_errors():\n    raise {kind.__name__}("a.png: too small; choose a larger one")\n'
    )
    with pytest.raises(SystemExit, match=r'^a\.png: too small; choose a larger one$'):
        runpy.run_path(str(tmp_path / 'program.py'), run_name='__main__')


def test_what_a_tool_refuses_as_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`mmmtl NAME` runs a script below `tools/`, which is not the program then."""
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/tool.py').write_text('def main():\n    raise ValueError("choose another one")\n')
    monkeypatch.setattr('mmmtl.cli.errors.PACKAGE', tmp_path / 'mmmtl')
    main = runpy.run_path(str(tmp_path / 'tools/tool.py'))['main']
    with pytest.raises(SystemExit, match='^choose another one$'), readable_errors():
        main()


def test_errors_of_files(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=rf'^{tmp_path}: Is a directory$'), readable_errors():
        tmp_path.read_text()


def test_errors_of_other_code_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match='invalid literal'), readable_errors():
        int('x')
    with pytest.raises(RuntimeError), readable_errors():
        torch.zeros(2) @ torch.zeros(3)


def test_a_broken_pipe_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules['__main__'], '__file__', __file__, raising=False)
    with pytest.raises(BrokenPipeError), readable_errors():
        raise BrokenPipeError


def test_the_reader_of_the_output_may_go(monkeypatch: pytest.MonkeyPatch) -> None:
    end, output = os.pipe()
    os.close(end)
    with open(output, 'w') as stdout:
        monkeypatch.setattr(sys, 'stdout', stdout)
        with pytest.raises(SystemExit) as ended, readable_errors():
            print('a long table\n' * 10_000)
    assert ended.value.code == 1


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='/dev/full stands for a full disk')
def test_a_full_disk_of_the_output_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with open('/dev/full', 'w') as stdout:
        monkeypatch.setattr(sys, 'stdout', stdout)
        with pytest.raises(SystemExit, match='output.*No space left'), readable_errors():
            print('a table')


def test_letters_that_the_output_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(written, encoding='ascii'))
    with readable_errors():
        print('Straße: Δm')
    assert written.getvalue() == b'Stra\\xdfe: \\u0394m\n'


def test_other_errors_leave_the_output_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match='timed out'), allow_closed_output():
        print('a table')
        raise TimeoutError(errno.ETIMEDOUT, 'timed out')
    assert capsys.readouterr().out == 'a table\n'


def test_the_output_may_be_closed_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'stdout', None)
    with readable_errors():
        print('a table')
    assert sys.stdout.name == os.devnull


def test_ctrl_c_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, readable_errors():
        raise KeyboardInterrupt
    assert ended.value.code == 130 and capsys.readouterr().err == 'stopped\n'


def test_only_the_warnings_of_mmmtl_are_plain(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'a').mkdir()
    for path in (tmp_path / 'a' / 'x.png', tmp_path / 'y.png'):
        path.touch()
    program = (
        'import warnings; from mmmtl.cli.errors import readable_errors\n'
        'from mmmtl.commands.inputs import find_inputs\n'
        'with readable_errors():\n'
        f'    find_inputs([{str(tmp_path)!r}], folders_are_videos=False)\n'
        '    warnings.warn("of another package")\n'
    )
    subprocess.run([sys.executable, '-c', program], check=True)
    shown = capfd.readouterr().err.splitlines()
    assert f"warning: {tmp_path}: images in subfolders: 1; to read them, give '{tmp_path}/**/*'" in shown
    assert '<string>:5: UserWarning: of another package' in shown


def test_overrides_may_be_given_several_times(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    given = ['c.py', '--cfg-options', 'a=1', 'b.c=x=y', '--cfg-options', 'a=2', 'd=[1,2]']
    assert parser.parse_args(given).cfg_options == {'a': 2, 'b.c': 'x=y', 'd': [1, 2]}
    for wrong in ('a', '=1'):
        with pytest.raises(SystemExit):
            parser.parse_args(['c.py', '--cfg-options', wrong])
        assert f'KEY=VALUE, not {wrong!r}' in capsys.readouterr().err


def test_tasks_and_the_work_folder_of_a_config() -> None:
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    cfg = resolve(config_of(parser.parse_args(['mila-indoor', '--tasks', 'depth, semseg'])))
    assert list(cfg.model.tasks) == ['depth', 'semseg']
    for given, expected in (
        (['--work-dir', 'mine', '--cfg-options', 'work_dir=other'], 'mine'),
        (['--cfg-options', 'work_dir=other'], 'other'),
        ([], os.path.join('work_dirs', 'mila-indoor')),
    ):
        assert config_of(parser.parse_args(['mila-indoor', *given])).work_dir == expected
    # As of a variable of the shell that is not set; all tasks would be another model.
    with pytest.raises(ValueError, match=r"--tasks\) names \[''\]"):
        resolve(config_of(parser.parse_args(['mila-indoor', '--tasks', ''])))


def test_arguments_of_an_inferencer() -> None:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    add_inferencer_arguments(parser)
    add_fit_argument(parser)
    given = parser.parse_args(
        ['mila-indoor', 'w.pth', '--device=cpu', '--optimize=fuse', '--dtype=bfloat16', '--size', '32', '64']
    )
    options = dict(weights='w.pth', device='cpu', optimize='fuse', dtype=torch.bfloat16)
    assert (inferencer_options(given), chosen_size(given)) == (options, [32, 64])
    default = parser.parse_args(['mila-indoor'])
    assert chosen_size(default) == 'input' and inferencer_options(default)['dtype'] is None
    assert inferencer_options(default)['weights'].name == 'mila-indoor.safetensors', 'those of the named model'
    assert chosen_size(parser.parse_args(['mila-indoor', '--fit', 'letterbox'])) == 'letterbox'


@pytest.mark.parametrize(
    ('parse', 'good', 'wrong'),
    [
        (positive, {'1': 1}, ['0', '-1', '1.5', 'x']),
        (not_negative, {'0': 0, '3': 3}, ['-1', '0.5', '']),
        (positive_number, {'0.5': 0.5, '1e3': 1e3}, ['0', '-1', 'nan', 'inf', 'x']),
        (choices('a', 'b'), {'a': ['a'], 'b,a': ['b', 'a']}, ['', 'c', 'a,c', 'a,']),
    ],
)
def test_values_of_options(parse: Callable[[str], Any], good: dict[str, Any], wrong: list[str]) -> None:
    assert {text: parse(text) for text in good} == good
    for text in wrong:
        with pytest.raises(argparse.ArgumentTypeError, match=re.escape(repr(text))):
            parse(text)


def test_the_scale_of_drawings_can_be_fixed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    add_shown_range_argument(parser)
    given = ['mila-indoor', '--cfg-options', 'tasks.depth.loss_weight=2', '--shown-range', 'depth', '0.5', '10']
    depth = resolve(config_of(parser.parse_args(given))).model.tasks.depth
    assert depth.shown_range == [0.5, 10] and depth.loss_weight == 2
    with pytest.raises(ValueError, match='semseg.*shown_range'):
        resolve(config_of(parser.parse_args(['mila-indoor', '--shown-range', 'semseg', '0', '1'])))
    with pytest.raises(SystemExit):
        parser.parse_args(['mila-indoor', '--shown-range', 'depth', 'near', 'far'])
    assert 'near far' in capsys.readouterr().err
    left_out = ['mila-indoor', '--tasks', 'semseg', '--shown-range', 'depth', '0.5', '10']
    with pytest.raises(ValueError, match=r"tasks\.depth\.shown_range: has no effect.*\['semseg'\]"):
        config_of(parser.parse_args(left_out))


@pytest.mark.parametrize('name', ['cuda:77', 'xpu:77', 'hpu', 'fpga', 'meta'])
def test_a_device_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f'^{name}: this machine'):
        device(name)
    assert device('cpu') == 'cpu'


def test_a_broken_import_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules['__main__'], '__file__', __file__, raising=False)
    with pytest.raises(ImportError, match='absent'), readable_errors():
        from mmmtl.cli.arguments import absent  # noqa: F401


class Images(Dataset):
    """Images of files."""

    def __init__(self, files: list[str]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> int:
        return int(self.files[index]) if self.files[index].isidentifier() else read_image(self.files[index]).size


def test_what_a_worker_says(tmp_path: Path) -> None:
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(SystemExit) as refused, readable_errors():
        list(DataLoader(Images([str(tmp_path / 'a.png')]), num_workers=1))
    text = str(refused.value)
    assert text.startswith(f'{tmp_path}/a.png: not a readable image') and '\n' not in text
    with pytest.raises(ValueError, match='Original Traceback'), readable_errors():
        list(DataLoader(Images(['x']), num_workers=1))


def test_the_program_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules['__main__'], '__file__', 'other.py', raising=False)
    with pytest.raises(ValueError, match='mine'), readable_errors():
        raise ValueError('mine')


def test_errors_of_c_code_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves no frame, so the last one is that of the program, which did not refuse anything."""
    monkeypatch.setattr(sys.modules['__main__'], '__file__', __file__, raising=False)
    with pytest.raises(ValueError, match='could not broadcast'), readable_errors():
        np.zeros(2)[:] = np.zeros(3)
