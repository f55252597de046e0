"""The `mmmtl` command: its words, its start, and the list of models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mmmtl_command
from mmmtl import commands
from mmmtl.commands.models import place, table
from mmmtl.version import __version__
from mmmtl.zoo import find_model, models

ROOT = Path(__file__).parents[2]
TINY = 'mila_tiny-k5_1xb8-demo_synthetic-64x128'


@pytest.mark.parametrize('name', commands.COMMANDS | commands.TOOLS)
def test_help_of_every_command(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['mmmtl'])
    with pytest.raises(SystemExit) as exit_:
        commands.main([name, '--help'])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: mmmtl {name} ')


def test_help_version_and_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    commands.main(['--version'])
    assert capsys.readouterr().out == f'mmmtl {__version__}\n'
    commands.main([])
    shown = capsys.readouterr().out
    assert all(f'\n  {name} ' in shown for name in commands.COMMANDS | commands.TOOLS)
    with pytest.raises(SystemExit) as exit_:
        commands.main(['trian'])
    assert exit_.value.code == 2 and "'train'" in capsys.readouterr().err.splitlines()[-1]


def test_help_and_models_start_without_torch() -> None:
    code = (
        "import sys, mmmtl_command; sys.argv = ['mmmtl', *sys.argv[1:]]; mmmtl_command.main(); "
        "print(sorted({'torch', 'mmengine', 'cv2'} & set(sys.modules)))"
    )
    for arguments in (['--help'], ['models']):
        done = subprocess.run([sys.executable, '-c', code, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.endswith('[]\n'), done.stderr


def test_programs_start_without_the_machinery_of_torch_compile() -> None:
    """Older releases of torch load it for parts that mmengine imports."""
    known = "'torch._dynamo' in sys.modules"
    code = f'import sys, mmengine.hooks; before = {known}; import mmmtl.commands.predict; print(before, {known})'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    before, after = done.stdout.split()
    assert before == after, done.stderr


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    commands.main(['models', '--json'])
    found = {model['name']: model for model in json.loads(capsys.readouterr().out)}
    assert len(found) > 50
    assert found[TINY]['data'] == 'SyntheticVideo' and Path(found[TINY]['config']).is_file()
    commands.main(['models', 'mila_tiny'])
    assert TINY in (shown := capsys.readouterr().out) and 'mila_r50' not in shown
    commands.main(['models', '--weights', '--json'])
    with_weights = json.loads(capsys.readouterr().out)
    assert 0 < len(with_weights) < len(found) and all(model['weights'] for model in with_weights)
    commands.main(['models', 'MILA-*DOOR'])
    assert '\n1 model, 1 with weights' in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no model matches 'none_such'$"):
        commands.main(['models', 'none_such'])
    with pytest.raises(SystemExit, match='and has weights$'):
        commands.main(['models', TINY, '--weights'])


def test_the_table_fits_and_its_reader_may_go() -> None:
    found = list(models().values())
    assert all(len(line) <= 90 for line in table(found, 90).splitlines() if line[0] in '+|')
    one = table([models()['mila-indoor']])
    assert '\n1 model, 1 with weights' in one and 'research' in one and 'mIoU' in one
    with subprocess.Popen(
        [sys.executable, 'mmmtl_command.py', 'models'], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b''


def test_where_weights_are(tmp_path: Path) -> None:
    weights = models()['mila-indoor'].weights
    assert weights is not None and place(weights) == 'in the package'
    path = tmp_path / 'w.pth'
    assert place(weights._replace(source=str(path))) == f'missing: {path}'
    path.touch()
    assert place(weights._replace(source=str(path))) == str(path)
    assert place(weights._replace(source='https://host/w.pth')) == 'download'


def test_models_with_weights_are_suggested_first() -> None:
    with pytest.raises(ValueError, match=r'mila-indoor or .*`mmmtl models MILA` lists all \d\d'):
        find_model('MILA')


def test_a_tool_takes_the_name_of_a_model_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['mmmtl'])
    commands.main(['config', TINY, '--cfg-options', 'key_frame_interval=3'])
    assert 'key_frame_interval=3\n' in capsys.readouterr().out
    with pytest.raises(SystemExit, match=TINY):
        commands.main(['config', 'mila_tiny'])
    with pytest.raises(SystemExit, match='no weights'):
        commands.main(['test', TINY])


@pytest.mark.parametrize('name', [name for name in commands.tool_paths() if name != 'tools/dev/revision_run.py'])
def test_every_script_runs_by_its_path(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'argv', ['mmmtl'])
    monkeypatch.setattr(sys, 'path', sys.path[:])
    with pytest.raises(SystemExit) as exit_:
        commands.main([name, '--help'])
    assert exit_.value.code == 0 and capsys.readouterr().out.startswith(f'usage: {Path(name).name} ')


def test_scripts_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['mmmtl'])
    tracked = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / 'tools').rglob('*.py'))
    assert commands.tool_paths() == tracked
    name = 'tools/analysis_tools/delta_m.py'
    with pytest.raises(SystemExit) as exit_:
        commands.main([f'./{name}', '--help'])
    assert exit_.value.code == 0 and capsys.readouterr().out.startswith('usage: delta_m.py ')
    for wrong in ('tools/analysis_tools/delta.py', 'tools/../setup.py'):
        with pytest.raises(SystemExit) as exit_:
            commands.main([wrong])
        assert exit_.value.code == 2
    with pytest.raises(SystemExit):
        commands.main(['tools/analysis_tools/delta_n.py'])
    assert f"'{name}'" in capsys.readouterr().err.splitlines()[-1]


def test_ctrl_c_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mmmtl_command, 'run', interrupted)
    with pytest.raises(SystemExit) as ended:
        mmmtl_command.main()
    assert ended.value.code == 130 and capsys.readouterr().err == 'stopped\n'
