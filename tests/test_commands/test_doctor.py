"""`mmmtl doctor` in environments that are broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
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


def test_two_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_distributions(tmp_path, 'mmengine', 'opencv-python-headless')
    monkeypatch.syspath_prepend(tmp_path)
    shown = report(doctor.check_owners, doctor.BROKEN)
    assert 'mmengine belongs to mmengine and onedl-mmengine' in shown
    assert 'repair:  pip uninstall -y mmengine onedl-mmengine' in shown
    assert 'repair:  pip install --force-reinstall --no-deps "onedl-mmengine' in shown
    assert 'repair:  pip uninstall -y opencv-python opencv-python-headless' in shown


def test_a_torchvision_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision' / '__init__.py').write_text("raise RuntimeError('operator torchvision::nms')")
    add_distributions(tmp_path, 'torchvision')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    shown = report(doctor.check_torch, doctor.BROKEN)
    assert 'torchvision::nms' in shown
    assert 'repair:  pip uninstall -y torchvision' in shown
    assert 'repair:  pip install torchvision "torch==' in shown


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setattr('platform.system', lambda: 'Linux')
    shown = report(doctor.check_compiler, doctor.WORSE)
    assert 'c++ is not in PATH' in shown and 'apt-get install g++' in shown
    monkeypatch.setenv('CXX', 'my-c++')
    assert 'my-c++ is not in PATH' in report(doctor.check_compiler, doctor.WORSE)


def test_a_package_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'yaml', None)
    assert 'pip install --force-reinstall PyYAML' in report(doctor.check_packages, doctor.BROKEN)


def test_a_check_that_fails_is_a_finding() -> None:
    def check_of_mine() -> Iterator[doctor.Finding]:
        raise OSError('cannot open libc')

    assert report(check_of_mine, doctor.BROKEN).split() == ['BROKEN', 'of_mine', 'OSError:', 'cannot', 'open', 'libc']


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
