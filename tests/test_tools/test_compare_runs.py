"""compare_runs.py: equal bits are identical, and the first value that differs is found and named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

from mmmtl.checkpoint import RENAMED

from .conftest import ROOT, TINY_CONFIG

TOOL = ROOT / 'tools' / 'dev' / 'compare_runs.py'


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(TOOL.parent)
    import compare_runs

    return compare_runs


def test_the_first_difference_is_named(tool: ModuleType) -> None:
    old = {'loss': np.float32([1, np.nan]), 'is_key': np.array([True, False]), 'norm': np.float64(2)}

    assert tool.first_difference(old, {name: value.copy() for name, value in old.items()}) is None
    other = {**old, 'loss': np.nextafter(old['loss'], np.float32(2)), 'norm': np.float64(3)}
    assert tool.first_difference(old, other) == 'loss: the maximum absolute difference is 1.19e-07'
    assert tool.first_difference(old, {**old, 'norm': np.float64(2.5)}).startswith('norm: the maximum')
    assert tool.first_difference(old, {**old, 'is_key': np.array([True, True])}).startswith('is_key: ')
    assert 'float64' in tool.first_difference(old, {**old, 'loss': old['loss'].astype(np.float64)})
    assert tool.first_difference(old, {**old, 'loss': np.float32([np.nan, np.nan])}).startswith('loss: ')
    assert tool.first_difference(old, {**old, 'more': old['norm']}).startswith('more is missing in the old')
    assert tool.first_difference({**old, 'more': old['norm']}, old).startswith('more is missing in the new')


def test_configs_are_chosen(tool: ModuleType, tmp_path: Path) -> None:
    names = ['mila/a_r18.py', 'mila/a_r50.py', 'mila/b_r18.py', 'pad/a_r18.py']
    for name in (*names, '_base_/c.py', 'mila/readme.md'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert tool.find_configs(tmp_path, [], one_per_method=False) == names
    assert tool.find_configs(tmp_path, ['pad/*', 'a_r50'], one_per_method=False) == [names[1], names[3]]
    assert tool.find_configs(tmp_path, [], one_per_method=True) == names[1:]
    with pytest.raises(SystemExit, match=r"\['atrc/\*'\]"):
        tool.find_configs(tmp_path, ['mila/*', 'atrc/*'], one_per_method=False)


def test_weights_are_renamed_in_turn(tool: ModuleType) -> None:
    from revision_run import rename_keys

    table = [(r'^neck\.(\d)\.', r'neck.blocks.\1.'), (r'^neck\.blocks\.0', 'neck.first'), (r'\.unused$', None)]
    weights = {'neck.0.weight': 1, 'neck.1.weight': 2, 'neck.1.unused': 3, 'head.neck.0.weight': 4}
    expected = {'neck.first.weight': 1, 'neck.blocks.1.weight': 2, 'head.neck.0.weight': 4}
    assert rename_keys(weights, table) == expected
    with pytest.raises(ValueError, match=r"'neck'.*'neck\.1\.weight'"):
        rename_keys(weights, [(r'^neck.*', 'neck')])


def test_the_table_of_renames_names_configs_that_exist() -> None:
    table = yaml.safe_load((TOOL.parent / 'renames.yml').read_text())

    assert set(table) == {'configs', 'weights'}
    assert all((ROOT / 'configs' / line.split()[0]).is_file() for line in table['configs'].values())
    assert all(len(pair) == 2 for pair in table['weights'])


def test_the_tables_of_renamed_weights_agree() -> None:
    renames = yaml.safe_load((TOOL.parent / 'renames.yml').read_text())['weights']
    of_loader = [[pattern.pattern, new] for pattern, new in RENAMED]
    assert [pair for pair in renames if 'decode_head' in pair[0]] == of_loader

    guide = (ROOT / 'UPGRADING.md').read_text()
    rows = re.findall(r'^\| `(decode_head\.\S+, )?(decode_head\.\S+)` \| `(decode_head\.\S+)` \|$', guide, re.MULTILINE)
    assert len(rows) == len(RENAMED)
    for (*old, new), (pattern, replacement) in zip(rows, RENAMED, strict=True):
        assert new == f'{replacement}*'
        assert all(pattern.sub(replacement, name.strip(', ')) == new for name in old if name)


@pytest.mark.slow
def test_a_change_of_one_bit_is_found(tmp_path: Path) -> None:
    for folder in ('mmmtl', 'configs/_base_'):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns('__pycache__'))
    configs = tmp_path / 'configs' / 'mila'
    configs.mkdir()
    shutil.copy(TINY_CONFIG, configs / 'kept.py')
    shutil.copy(TINY_CONFIG, configs / 'moved.py')
    child = "_base_ = './kept.py'\ntasks = dict(depth=dict(loss_weight={}))\n"
    (configs / 'changed.py').write_text(child.format(1))
    git = ['git', '-c', 'user.name=test', '-c', 'user.email=test@localhost']
    for command in (['init', '--quiet'], ['add', '.'], ['commit', '--quiet', '--message', 'Old']):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    (configs / 'changed.py').write_text(child.format(1 + 1e-7))
    (configs / 'moved.py').rename(configs / 'new.py')
    (tmp_path / 'renames.yml').write_text('configs: {mila/moved.py: mila/new.py}\nweights: []\n')

    command = [sys.executable, str(TOOL), 'HEAD', '.', '--renames', 'renames.yml', '--iterations', '2']
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith('[1/3] mila/changed.py: iteration 0: loss depth.loss_l1: ')
    assert lines[1:3] == ['[2/3] mila/kept.py: identical', '[3/3] mila/moved.py: identical']
    assert lines[3].startswith('2 of 3 configs are identical')
    worktrees = subprocess.run([*git, 'worktree', 'list'], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert len(worktrees.stdout.splitlines()) == 1
