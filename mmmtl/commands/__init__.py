"""The `mmmtl` command: one word for each program. A program is imported when it runs, so that the others start fast."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from mmmtl._suggestions import did_you_mean

__all__: list[str] = []

COMMANDS = {
    'predict': 'predict every task of images and videos',
    'demo': 'show models in the browser',
    'export': 'export a model to ONNX graphs that need no mmmtl',
    'models': 'list the models: data, scores, cost, weights and their licence',
    'report': 'write a report of one run or several as one HTML file',
    'doctor': 'check the environment, and say how to repair it',
}
"""Programs in this folder, each a module with `main(arguments, prog)`."""

TOOLS = {
    'train': ('train.py', 'train a model'),
    'test': ('test.py', 'test weights: a table of every metric'),
    'flops': ('analysis_tools/get_flops.py', 'count multiply-accumulates and parameters'),
    'benchmark': ('analysis_tools/benchmark.py', 'measure latency, throughput and memory'),
    'browse': ('analysis_tools/browse_dataset.py', 'draw the samples of a data set, as a model gets them'),
    'config': ('misc/print_config.py', 'print a config with everything resolved'),
}
"""Scripts below `tools/`, which come with the package; the others run by their paths, such as `tools/misc/x.py`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ['--help']
    if name in ('-h', '--help'):
        print(usage())
    elif name == '--version':
        from mmmtl.version import __version__

        print(f'mmmtl {__version__}')
    elif name in COMMANDS:
        import_module(f'mmmtl.commands.{name}').main(rest, f'mmmtl {name}')
    elif (script := find_tool(name)) is not None:
        run_tool(script, name, rest)
    else:
        print(usage(), file=sys.stderr)
        words = [*COMMANDS, *TOOLS, *(tool_paths() if '/' in name else ())]
        print(f'\nmmmtl: no command {name!r}; {did_you_mean(name, words)}', file=sys.stderr)
        sys.exit(2)


def tool_paths() -> list[str]:
    """Return the paths of all scripts, as `tools/...`."""
    from mmmtl.zoo import home

    return sorted(path.relative_to(home()).as_posix() for path in (home() / 'tools').rglob('*.py'))


def find_tool(name: str) -> Path | None:
    """Return the script of a word in `TOOLS`, or of a path `tools/...`; None if there is none."""
    from mmmtl.zoo import home

    if name in TOOLS:
        return home() / 'tools' / TOOLS[name][0]
    path = Path(name).as_posix()
    return home() / path if path in tool_paths() else None


def run_tool(script: Path, name: str, arguments: Sequence[str]) -> None:
    """Run a script as Python would, under the name `mmmtl NAME`."""
    from mmmtl.cli.errors import readable_errors

    sys.argv = [f'mmmtl {name}', *arguments]
    sys.path.insert(0, str(script.parent))
    spec = spec_from_file_location('__main__', script)
    assert spec is not None and spec.loader is not None, f'{script} is a Python file'
    with readable_errors():
        spec.loader.exec_module(module_from_spec(spec))


def usage() -> str:
    """Return the help of the command as a whole."""
    texts = {**COMMANDS, **{name: text for name, (_, text) in TOOLS.items()}}
    texts['tools/...'] = 'run any other script, such as tools/analysis_tools/delta_m.py'
    lines = [f'  {name:<10} {text}' for name, text in texts.items()]
    head = 'usage: mmmtl COMMAND [arguments]\n\nMulti-task dense prediction from images and video.\n\ncommands:'
    foot = '`mmmtl COMMAND --help` describes the arguments of each, `mmmtl --version` prints the version.'
    return '\n'.join([head, *lines, '', foot])
