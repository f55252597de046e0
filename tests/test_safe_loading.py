"""Safe loading: whatever part of mmmtl is imported, no way of loading a checkpoint runs what is in it."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import mmengine.runner.checkpoint
import pytest
import torch
from mmengine.runner import CheckpointLoader

import mmmtl
from mmmtl import _safe_loading

SCRIPT = Path(__file__).with_name('loading_paths.py')
PACKAGES = [f'mmmtl.{info.name}' for info in pkgutil.iter_modules(mmmtl.__path__) if info.ispkg]
# mmmtl alone, and after mmengine's loader.
QUICK = ['mmmtl', 'mmengine.runner,mmmtl']
CASES = QUICK + [pytest.param(name, marks=pytest.mark.slow) for name in PACKAGES if name not in QUICK]


class Trap:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.mkdir, (str(self.canary),)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The URL of the test's folder, which holds a trap and the catalogue of open-mmlab's models."""
    contents = {'state_dict': {'scale': torch.zeros(3)}, 'meta': {'author': Trap(tmp_path / 'canary')}}
    torch.save(contents, tmp_path / 'trap.pth')
    (tmp_path / 'open_mmlab.json').write_text(json.dumps({name: name for name in ('trap.pth', 'good.pth')}))
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def verdicts(modules: str, folder: Path, url: str) -> dict[str, str]:
    """Return what every way of loading did in a fresh interpreter."""
    environment = {**os.environ, 'TORCH_HOME': str(folder / 'cache'), 'MMENGINE_HOME': str(folder)}
    command = [sys.executable, str(SCRIPT), modules, str(folder), url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / 'verdicts.json').read_text())


@pytest.mark.parametrize('modules', CASES)
def test_no_way_of_loading_runs_a_checkpoint(tmp_path: Path, url: str, modules: str) -> None:
    found = verdicts(modules, tmp_path, url)

    assert found == dict.fromkeys(found, 'safe')
    assert len(found) == 16


def test_the_trap_would_go_off_without_mmmtl(tmp_path: Path, url: str) -> None:
    found = verdicts('mmengine', tmp_path, url)

    del found['s3://']  # mmengine reads the rest of a buffer there and finds nothing
    assert found == dict.fromkeys(found, 'the trap went off')
    assert len(found) == 12


def test_an_address_without_a_checkpoint_is_named(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    with pytest.raises(ValueError, match='none.pth.*404'):
        CheckpointLoader.load_checkpoint(f'{url}/none.pth')


def test_the_hook_is_there_once() -> None:
    _safe_loading.install()

    assert sum(isinstance(finder, _safe_loading.SafeLoadingFinder) for finder in sys.meta_path) == 1


@pytest.mark.parametrize('name', ['_safe_torch_load', 'load_url', 'CheckpointLoader'])
def test_a_loader_that_cannot_be_made_safe_is_refused(name: str) -> None:
    other = ModuleType('mmengine.runner.checkpoint')
    vars(other).update({key: value for key, value in vars(mmengine.runner.checkpoint).items() if key != name})

    with pytest.raises(ImportError, match=f'{name}.*mminstall.txt'):
        _safe_loading.make_safe(other)
