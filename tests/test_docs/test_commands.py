"""The commands of the documentation and of docstrings: their programs, options, targets and configs exist.

Programs start, parse their command line, and stop there.
"""

from __future__ import annotations

import argparse
import ast
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmmtl import commands
from mmmtl.zoo import is_name, models

from .conftest import FILES, ROOT

PAGES = {
    str(path.relative_to(ROOT)): text
    for path, text in FILES.items()
    if path.name not in ('CHANGELOG.md', 'UPGRADING.md')  # these name what there was
}
BLOCK = re.compile(r'^ *```(\w*)\n(.*?)^ *```', re.DOTALL | re.MULTILINE)
OTHERS = {'pip', 'git', 'cd', 'source', 'export', 'for', 'done', '.venv/bin/pre-commit'}
"""Programs that are not of this repository."""

MAKEFILE = (ROOT / 'Makefile').read_text(encoding='utf-8')
TARGETS = set(re.findall(r'^(\w+):.*## ', MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r'^([A-Z]+) \?=', MAKEFILE, re.MULTILINE))


class Parsed(Exception):
    """A program has come to its command line."""


def examples(script: Path) -> str:
    """Return the commands that the docstring of a program shows."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding='utf-8'))) or ''
    return ''.join(re.findall(r'^ +(?:python|mmmtl|make) (?:.*\\\n)*.*\n?', text, re.MULTILINE))


def lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every command of a block, with variables replaced."""
    variables: dict[str, str] = {}
    for line in text.replace('\\\n', ' ').splitlines():
        command: list[str] = []
        for word in [*shlex.split(line, comments=True), '&&']:
            if word in ('&&', ';', 'do'):
                if command:
                    yield command
                command = []
            elif not command and (found := re.match(r'([A-Z]+)=(.*)', word)):
                variables[found[1]] = found[2]
            else:
                command.append(re.sub(r'^\$([A-Z]+)$', lambda name: variables[name[1]], word))


def spans(text: str) -> Iterator[list[str]]:
    """Yield the words of every command that a sentence names."""
    program = r'mmmtl [a-z]|make [a-z]|python (tools|benchmarks|demo)/|(tools|benchmarks|demo)/\S+\.py --'
    for span in re.findall(r'`([^`\n]+)`', BLOCK.sub('', text)):
        if re.match(program, span):
            yield shlex.split(span.removeprefix('python '))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that starts a program and returns the parser and what it parsed; nothing after it runs."""

    def refuse(self: argparse.ArgumentParser, message: str) -> None:
        raise AssertionError(message)

    def stop(self: argparse.ArgumentParser, arguments: list[str] | None = None, namespace: Any = None) -> None:
        self.allow_abbrev = False
        raise Parsed(self, None if partial else parse(self, arguments, namespace))

    partial = False
    parse = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, 'error', refuse)
    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(sys, 'argv', [])
    path = sys.path[:]

    def run(program: str, arguments: list[str], *, incomplete: bool = False) -> Any:
        nonlocal partial
        partial = incomplete
        try:
            if program == 'mmmtl':
                commands.main(arguments)
            else:
                sys.path[:] = [str((ROOT / program).parent), *path]
                sys.argv = [program, *arguments]
                runpy.run_path(str(ROOT / program), run_name='__main__')
        except Parsed as reached:
            return reached.args
        except SystemExit as error:
            raise AssertionError(str(error)) from None
        finally:
            sys.path[:] = path
        raise AssertionError('the program reads no command line')

    return run


def check_make(words: list[str]) -> None:
    for word in words:
        name, equals, value = word.partition('=')
        assert name in (VARIABLES if equals else TARGETS), f'no target or variable {name}'
        for path in re.findall(r'(?:tests|requirements)/\S+', value):
            assert (ROOT / path).exists(), path


def check_config(config: str | None) -> None:
    """Refuse a name or a file that no config has; `CONFIG`, `NAME` and `my_...` stand for any."""
    if config is None or config.isupper() or Path(config).name.startswith('my_'):
        return
    assert config in models() if is_name(config) else (ROOT / config).is_file(), f'no config {config}'


def check(command: list[str], start: Any) -> None:
    """Refuse a command that its program would not understand."""
    program, *words = command
    if program == 'python':
        program, *words = words
    if program == 'make':
        check_make(words)
    elif program not in OTHERS:
        check_config(vars(start(program, words)[1]).get('config'))


COMMANDS = {
    page: [
        command
        for language, text in BLOCK.findall(content)
        if language in ('sh', 'bash', 'shell')
        for command in lines(text)
    ]
    for page, content in PAGES.items()
} | {
    str(script.relative_to(ROOT)): [*lines(examples(script))]
    for room in ('tools', 'benchmarks', 'demo')
    for script in (ROOT / room).rglob('*.py')
    if script.name != 'training_worker.py'  # no command line for people, and no parser: it would run
}


def test_commands_are_found() -> None:
    assert sum(map(len, COMMANDS.values())) > 140


@pytest.mark.parametrize('source', [source for source, found in COMMANDS.items() if found])
def test_commands_are_understood(source: str, start: Any) -> None:
    wrong = []
    for command in COMMANDS[source]:
        try:
            check(command, start)
        except (AssertionError, OSError) as error:
            wrong.append(f'{" ".join(command)}: {error}')
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize(
    'line',
    [
        'mmmtl tain CONFIG',
        'mmmtl test CONFIG CHECKPOINT --offset all',
        'mmmtl train mila_tiny-k6',
        'python tools/none.py CONFIG',
        'python tools/train.py configs/none.py',
        'make dmo',
    ],
)
def test_wrong_commands_are_refused(line: str, start: Any) -> None:
    with pytest.raises((AssertionError, OSError)):
        check(shlex.split(line), start)


@pytest.mark.parametrize('page', PAGES)
def test_commands_in_sentences_have_their_options(page: str, start: Any) -> None:
    wrong = []
    for program, *words in spans(PAGES[page]):
        try:
            if program == 'make':
                check_make(words)
            else:
                known = start(program, words, incomplete=True)[0].format_help()
                wrong += [f'{program}: no option {word}' for word in words if word[:2] == '--' and word not in known]
        except (AssertionError, OSError) as error:
            wrong.append(f'{program} {" ".join(words)}: {error}')
    assert not wrong, '\n'.join(wrong)
