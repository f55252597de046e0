"""The workflows: which versions they test, and that what they run is written once, in the Makefile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))
TARGETS = set(re.findall(r'^([a-z]+):.* ## ', (ROOT / 'Makefile').read_text(encoding='utf-8'), flags=re.MULTILINE))


def read_jobs(path: Path) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(path.read_text(encoding='utf-8'))['jobs']


def read_matrix() -> list[dict[str, str]]:
    return read_jobs(ROOT / '.github/workflows/ci.yml')['test']['strategy']['matrix']['include']


def test_matrix_tests_the_versions_that_setup_declares() -> None:
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    declared = re.findall(r"'Programming Language :: Python :: (3\.\d+)'", setup)
    (floor,) = re.findall(r"python_requires='>=(3\.\d+)'", setup)

    assert len(declared) >= 4
    assert declared[0] == floor
    assert [row['python'] for row in read_matrix()] == declared


def test_matrix_tests_every_set_of_constraints() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'requirements').glob('constraints*.txt')}

    assert len(found) == 3
    assert {row['constraints'] for row in read_matrix()} == found


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_only_call_make(path: Path) -> None:
    commands = [step['run'] for job in read_jobs(path).values() for step in job.get('steps', []) if 'run' in step]

    assert commands
    for command in commands:
        assert re.fullmatch(r'make [a-z]+( [A-Z]+=\S+)*', re.sub(r'\$\{\{.*?\}\}', 'value', command)), command
        assert command.split()[1] in TARGETS, command


def test_workflows_run_every_check() -> None:
    run = {
        step['run'].split()[1]
        for path in WORKFLOWS
        for job in read_jobs(path).values()
        for step in job.get('steps', [])
        if 'run' in step
    }

    assert {'test', 'slow', 'faults', 'fuzz', 'lint', 'docs', 'dist'} == run <= TARGETS


def test_release_publishes_what_was_tested_and_built() -> None:
    jobs = read_jobs(ROOT / '.github/workflows/release.yml')

    assert jobs['test']['uses'] == './.github/workflows/ci.yml'
    assert (jobs['build']['needs'], jobs['publish']['needs']) == ('test', 'build')
    assert jobs['publish']['permissions'] == {'id-token': 'write'}
    assert any(
        'make dist' in step.get('run', '') and 'GITHUB_REF_NAME' in step['run'] for step in jobs['build']['steps']
    )
