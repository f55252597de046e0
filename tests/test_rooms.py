"""The order of the rooms: a room may import from those below it, never from those above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'mmmtl'

# From the ground up; a room that is missing here fails the test.
ROOMS = (
    ('_import_hooks',),
    ('version', '_environment', '_output', '_quiet_imports', '_safe_loading', '_suggestions'),
    ('zoo',),
    ('registry',),
    ('convolutions',),
    ('ops',),
    ('structures',),
    ('tasks',),
    ('io',),
    ('checkpoint',),
    ('public_weights',),
    ('datasets',),
    ('models',),
    ('config',),
    ('visualization',),
    ('evaluation',),
    ('reporting',),
    ('engine',),
    ('profiling',),
    ('apis',),
    ('export',),
    ('cli',),
    ('commands',),
)
FLOORS = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def imported_rooms(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, room) of every import of mmmtl in a file, those inside functions included."""
    package = ['mmmtl', *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            module = '.'.join([*start, *([node.module] if node.module else [])])
            names = [f'{module}.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split('.')
            if parts[0] == 'mmmtl' and len(parts) > 1 and parts[1] in FLOORS:
                yield node.lineno, parts[1]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix('').parts[0]


FILES = sorted(path for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py' and '.mim' not in path.parts)


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in FILES} == set(FLOORS)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_room_imports_from_one_above(path: Path) -> None:
    own = FLOORS[room_of(path)]
    upward = [f'line {line}: {room}' for line, room in imported_rooms(path, path.read_text()) if FLOORS[room] > own]
    assert not upward


def test_imports_of_every_form_are_found() -> None:
    lines = (
        'import mmmtl.apis',
        'def f():',
        '    from mmmtl import cli',
        'from ..engine import build',
        'from . import base',
    )
    found = list(imported_rooms(PACKAGE / 'tasks' / 'x.py', '\n'.join(lines)))
    assert sorted(found) == [(1, 'apis'), (3, 'cli'), (4, 'engine'), (5, 'tasks')]


def test_only_the_models_know_the_class_of_the_video_model() -> None:
    """Everybody else asks a model what it can do."""
    root = PACKAGE.parent
    others = [path for folder in ('benchmarks', 'demo', 'tools') for path in (root / folder).rglob('*.py')]
    outside = [*others, *(path for path in FILES if room_of(path) != 'models')]
    assert len(outside) > 100
    assert not [str(path) for path in outside if 'VideoMultiTaskSegmentor' in path.read_text()]
