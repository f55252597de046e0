"""`mmmtl doctor` in environments that are broken."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from mmmtl.commands import doctor

ROOT = Path(__file__).parents[2]


def add_distributions(folder: Path, *names: str) -> None:
    """Make distributions of these names look installed."""
    for name in names:
        info = folder / f'{name.replace("-", "_")}-0.10.7.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 0.10.7\n')


def report(check: Callable[[], Iterator[doctor.Finding]], mark: str) -> str:
    """Return what a check prints of a mark."""
    found = [doctor.shown(finding) for finding in doctor.findings(check) if finding.mark == mark]
    return '\n'.join(found)


def test_a_good_environment_has_nothing_broken() -> None:
    for check in (doctor.check_python, doctor.check_owners, doctor.check_packages, doctor.check_videos):
        assert not report(check, doctor.BROKEN)


@pytest.mark.parametrize(
    ('mark', 'status', 'last'), [(doctor.WORSE, 0, 'mmmtl can run here'), (doctor.BROKEN, 1, '2 broken; start with')]
)
def test_the_exit_status_says_whether_mmmtl_can_run(
    mark: str, status: int, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [doctor.Finding(doctor.GOOD, 'a', 'fits'), *[doctor.Finding(mark, 'b', 'is old', 'pip install b')] * 2]
    monkeypatch.setattr(doctor, 'CHECKS', (lambda: iter(found),))
    monkeypatch.setattr(doctor.logging, 'disable', lambda level: None)  # it would hold for later tests
    with pytest.raises(SystemExit) as ended:
        doctor.main([])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == status and lines[-1].startswith(last)
    assert [line.split() for line in lines[1:3]] == [[mark, 'b', 'is', 'old'], ['repair:', 'pip', 'install', 'b']]


def test_two_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_distributions(tmp_path, 'mmengine', 'opencv-python-headless')
    monkeypatch.syspath_prepend(tmp_path)
    shown = report(doctor.check_owners, doctor.BROKEN)
    assert 'mmengine belongs to mmengine and onedl-mmengine' in shown
    assert 'repair:  pip uninstall -y mmengine onedl-mmengine' in shown
    assert 'repair:  pip install --force-reinstall --no-deps "onedl-mmengine' in shown
    assert 'repair:  pip uninstall -y opencv-python opencv-python-headless' in shown


MISFITS = (
    "RuntimeError('operator\\ntorchvision::nms does not exist')",
    "ImportError('_C.so: undefined symbol: _ZN3c106detail')",
    "OSError('libtorch_cuda.so: cannot open shared object file')",
    "AttributeError('module torch.library has no attribute register_fake')",
)
OTHERS = ('ModuleNotFoundError("No module named \'requests\'")', "KeyError('HOME')", "RuntimeError('disk full')")


@pytest.mark.parametrize('error', MISFITS + OTHERS)
def test_a_torchvision_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision' / '__init__.py').write_text(f'raise {error}')
    add_distributions(tmp_path, 'torchvision')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    said, *repairs = report(doctor.check_torch, doctor.BROKEN).splitlines()
    assert ('does not fit torch' in said) == (error in MISFITS)
    kind, text = error.split('(', 1)
    assert f'{kind}: ' in said and text[1:-2].replace('\\n', ' ') in said
    uninstall, install = (repair.strip() for repair in repairs)
    assert uninstall == 'repair:  pip uninstall -y torchvision'
    assert install.startswith('repair:  pip install torchvision "torch==')


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setattr('platform.system', lambda: 'Linux')
    shown = report(doctor.check_compiler, doctor.WORSE)
    assert 'c++ is not in PATH' in shown and 'apt-get install g++' in shown
    monkeypatch.setenv('CXX', 'my-c++')
    assert 'my-c++ is not in PATH' in report(doctor.check_compiler, doctor.WORSE)
    monkeypatch.setattr('platform.system', lambda: 'Darwin')
    shown = report(doctor.check_compiler, doctor.WORSE)
    assert 'only on Linux and WSL' in shown and 'repair:' not in shown


def test_a_package_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'yaml', None)
    assert 'pip install --force-reinstall "PyYAML>=6.0"' in report(doctor.check_packages, doctor.BROKEN)


def test_a_check_that_fails_is_a_finding() -> None:
    def check_of_mine() -> Iterator[doctor.Finding]:
        raise OSError('cannot open libc')

    lines = report(check_of_mine, doctor.BROKEN).splitlines()
    assert lines[0].split() == ['BROKEN', 'of_mine', 'OSError:', 'cannot', 'open', 'libc']
    assert lines[1].split() == ['repair:', *doctor.reinstall(ROOT).split()]


@pytest.mark.parametrize(
    ('check', 'package'), [(doctor.check_openmmlab, 'onedl-mmengine'), (doctor.check_videos, 'av')]
)
def test_a_package_that_breaks_a_check_is_installed_anew(
    check: Callable[[], Iterator[doctor.Finding]], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(doctor, 'version', lambda name: '17.1')
    monkeypatch.setattr(doctor, 'import_module', refuse)
    assert re.search(rf'repair:  pip install --force-reinstall .*"{package}>=', report(check, doctor.BROKEN))


def test_only_the_backend_for_the_cpu_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {'cpu': 'no compiler', 'triton': 'no GPU'}
    # The package has a function of the same name.
    monkeypatch.setattr(import_module('mmmtl.ops.local_attention'), 'missing_backends', lambda: missing)
    assert 'without cpu: no compiler' in report(doctor.check_local_attention, doctor.WORSE)
    assert 'without triton: no GPU' in report(doctor.check_local_attention, doctor.GOOD)


def test_mmmtl_is_installed_anew_as_it_was(tmp_path: Path) -> None:
    assert doctor.reinstall(ROOT) == f'pip install --no-deps -e "{ROOT}"'
    assert doctor.reinstall(tmp_path) == 'pip install --force-reinstall --no-deps mmmtl'


def test_it_knows_the_runtime_requirements() -> None:
    lines = (ROOT / 'requirements/runtime.txt').read_text().splitlines()
    assert sorted(doctor.PACKAGES.values()) == sorted(line for line in lines if line and not line.startswith('#'))


def test_an_old_version_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, 'version', {'numpy': '1.26.4', 'opencv-python-headless': '4.10.0.84'}.get)
    (numpy,) = doctor.check_version('numpy>=2.1,<3')
    assert (numpy.mark, numpy.name) == (doctor.BROKEN, 'numpy') and '1.26.4' in numpy.text
    (opencv,) = doctor.check_version('opencv-python>=4.14', doctor.OPENCV)
    assert opencv.repair == 'pip install "opencv-python-headless>=4.14"'
    assert not [*doctor.check_version('scipy>=1.13')], 'is not installed, which another check finds'
    for version in ('2.11.0+cu130', '2.12.0.dev20261101+cpu'):
        monkeypatch.setattr(doctor, 'version', {'torch': version}.get)
        assert not [*doctor.check_version('torch>=2.8')]
    monkeypatch.setattr(doctor, 'version', {'opencv-python-headless': '4.10.0.84'}.get)
    assert 'pip install "opencv-python-headless>=4.14"' in report(doctor.check_packages, doctor.BROKEN)


@pytest.mark.parametrize('build', ['', '+cpu', '+cu126'])
def test_a_broken_torch_is_installed_from_its_index(monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    monkeypatch.setitem(sys.modules, 'torch', None)
    monkeypatch.setattr(doctor, 'version', lambda name: f'2.13.0{build}')
    (repair,) = report(doctor.check_torch, doctor.BROKEN).splitlines()[1:]
    index = f' --index-url https://download.pytorch.org/whl/{build[1:]}' if build else ''
    assert repair.endswith(f'pip install --force-reinstall "torch>=2.8"{index}')


@pytest.mark.parametrize('check', doctor.CHECKS)
def test_repairs_are_commands(check: Callable[[], Iterator[doctor.Finding]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is broken: no module can be imported, and no program is there."""

    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(doctor, 'import_module', refuse)
    monkeypatch.setattr(doctor.shutil, 'which', lambda *_, **__: None)
    for finding in doctor.findings(check):
        assert finding.mark != doctor.BROKEN or finding.repair
        for line in finding.repair.splitlines():
            assert re.match(r'(pip (install|uninstall)|sudo apt-get install|xcode-select|nvidia-smi)\b', line), line
            assert shlex.split(line) and not set('()') & set(line)


def test_it_starts_where_the_import_of_mmmtl_is_refused(tmp_path: Path) -> None:
    add_distributions(tmp_path, 'mmengine')
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), str(ROOT)])}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, '-m', 'mmmtl_command', *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    started, refused = run('doctor', '--help'), run('models')
    assert started.returncode == 0 and started.stdout.startswith('usage: mmmtl doctor')
    assert refused.returncode == 1 and 'mmmtl doctor' in refused.stderr
    assert 'mmengine and onedl-mmengine' in refused.stderr and 'Traceback' not in refused.stderr
