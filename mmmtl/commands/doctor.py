"""Check the environment of mmmtl, and print the commands that repair what is missing or broken.

The exit status is 1 if mmmtl cannot run. The check changes nothing, except that it may compile local attention for the
CPU into its cache, as the first use would.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

from mmmtl import _quiet_imports
from mmmtl._environment import OWNERS, REQUIRED, TorchvisionFinder, check_environment, torchvision_problem, wheel_index
from mmmtl.version import __version__

GOOD, WORSE, BROKEN = 'ok', 'note', 'BROKEN'
"""All is well; mmmtl runs, but slower or without something; mmmtl does not run."""

PACKAGES = {
    'jinja2': 'jinja2>=3.1.4',
    'matplotlib': 'matplotlib>=3.9',
    'numpy': 'numpy>=2.1,<3',
    'packaging': 'packaging>=24.2',
    'cv2': 'opencv-python>=4.14',
    'PIL': 'pillow>=11.0',
    'prettytable': 'prettytable>=3.12',
    'yaml': 'PyYAML>=6.0',
    'rich': 'rich>=13.9',
    'safetensors': 'safetensors>=0.5',
    'scipy': 'scipy>=1.13',
    'torch': 'torch>=2.8',
}
"""{module: its line of requirements/runtime.txt}; a test compares them."""

OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless')
"""Every distribution that installs into cv2."""


class Finding(NamedTuple):
    """The result of a check: one of the three marks, what was checked, what is there, and the repair.

    A repair is a command, or one on each line. Advice for people belongs to the text.
    """

    mark: str
    name: str
    text: str
    repair: str = ''


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the command."""
    argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(arguments)
    # As `mmmtl/__init__.py` does, which may not have run.
    TorchvisionFinder.install()
    _quiet_imports.install()
    # Findings say the same.
    logging.disable(logging.WARNING)
    broken = 0
    for check in CHECKS:
        for finding in findings(check):
            broken += finding.mark == BROKEN
            print(shown(finding), flush=True)
    print(
        f'{broken} broken; start with the first: it may be what breaks the others' if broken else 'mmmtl can run here'
    )
    sys.exit(1 if broken else 0)


def findings(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; a check that fails has found something broken."""
    try:
        yield from check()
    except Exception as error:  # a broken package raises nearly anything when it is imported
        repair = DEFAULT_REPAIRS.get(check) or reinstall(Path(__file__).parents[2])
        yield Finding(BROKEN, check.__name__.removeprefix('check_'), f'{type(error).__name__}: {error}', repair)


def reinstall(folder: Path) -> str:
    """Return the command that installs mmmtl anew, given the folder of its package: a clone or site-packages."""
    # The files of a clone are the user's own, but its links and compiled parts are made anew.
    is_clone = (folder / 'requirements' / 'runtime.txt').is_file()
    return f'pip install --no-deps -e "{folder}"' if is_clone else 'pip install --force-reinstall --no-deps mmmtl'


def shown(finding: Finding) -> str:
    """Return a finding as lines of text."""
    lines = [f'{finding.mark:<7}{finding.name:<17} {finding.text}']
    lines += [f'{"":<7}repair:  {line}' for line in finding.repair.splitlines()]
    return '\n'.join(lines)


def check_python() -> Iterator[Finding]:
    """Find the interpreter and where mmmtl is."""
    yield Finding(GOOD, 'mmmtl', f'{__version__}, {Path(__file__).parents[1]}')
    yield Finding(GOOD, 'Python', f'{platform.python_version()}, {sys.executable}, {platform.platform()}')


def check_owners() -> Iterator[Finding]:
    """Find the distributions that own mmengine, mmcv, mmseg and cv2."""
    try:
        check_environment()
        names = [name for owners in OWNERS.values() for name in owners if version(name)]
        yield Finding(GOOD, 'OpenMMLab', ', '.join(f'{name} {version(name)}' for name in names))
    except ImportError as error:
        yield _refusal('OpenMMLab', error)
    for requirement in REQUIRED.values():
        yield from check_version(requirement)
    owners = [name for name in OPENCV if version(name)]
    if len(owners) > 1:
        repair = f'pip uninstall -y {" ".join(owners)}\npip install --force-reinstall --no-deps "{PACKAGES["cv2"]}"'
        yield Finding(BROKEN, 'cv2', f'belongs to {" and ".join(owners)}, which overwrite files of each other', repair)


def check_packages() -> Iterator[Finding]:
    """Find the other packages that mmmtl needs."""
    for module, requirement in PACKAGES.items():
        if module != 'torch':  # it has a check of its own
            yield from check_version(requirement, OPENCV if module == 'cv2' else ())
            try:
                import_module(module)
            except Exception as error:
                name = re.split('[<>]', requirement)[0]
                yield Finding(BROKEN, name, str(error), f'pip install --force-reinstall "{requirement}"')


def check_version(requirement: str, names: Sequence[str] = ()) -> Iterator[Finding]:
    """Find whether an installed distribution is of a version that mmmtl runs with.

    Args:
        requirement: a line of the requirements.
        names: other distributions that may stand for it.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError:  # which another check finds
        return
    wanted = Requirement(requirement)
    for name in names or (wanted.name,):
        found = version(name)
        if found is not None and not wanted.specifier.contains(found, prereleases=True):
            text = f'{found} is installed; mmmtl needs {wanted.specifier}'
            repair = f'pip install "{name}{wanted.specifier}"' + (wheel_index(found) if name == 'torch' else '')
            yield Finding(BROKEN, name, text, repair)


def check_torch() -> Iterator[Finding]:
    """Find PyTorch, its GPUs, and a torchvision that cannot be imported."""
    try:
        import torch
    except Exception as error:
        index = wheel_index(version('torch') or '')
        yield Finding(BROKEN, 'torch', str(error), f'pip install --force-reinstall "{PACKAGES["torch"]}"{index}')
        return
    built = f'built for CUDA {torch.version.cuda}' if torch.version.cuda else 'built for the CPU alone'
    yield from check_version(PACKAGES['torch'])
    yield Finding(GOOD, 'torch', f'{torch.__version__}, {built}, {torch.get_num_threads()} threads')
    if torch.cuda.is_available():
        names = ', '.join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        yield Finding(GOOD, 'CUDA', names)
    elif shutil.which('nvidia-smi') and not torch.version.cuda:
        repair = 'pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126'
        yield Finding(WORSE, 'CUDA', 'this machine has an NVIDIA driver, and torch is a build without CUDA', repair)
    elif torch.version.cuda:
        text = 'torch finds no GPU: models run on the CPU; nvidia-smi lists one if the driver of NVIDIA works'
        yield Finding(WORSE, 'CUDA', text, 'nvidia-smi')
    else:
        yield Finding(GOOD, 'CUDA', 'none; models run on the CPU')
    if (found := version('torchvision')) is None:
        yield Finding(GOOD, 'torchvision', 'not installed, and not needed')
        return
    try:
        import_module('torchvision')
        yield Finding(GOOD, 'torchvision', f'{found}, fits')
    except Exception as error:
        refused = isinstance(error, RuntimeError) and 'Repair it with' in str(error)  # by TorchvisionFinder
        yield _refusal('torchvision', error if refused else RuntimeError(torchvision_problem(error)))


def check_openmmlab() -> Iterator[Finding]:
    """Find whether the mm packages can be imported."""
    for module in ('mmengine', 'mmcv', 'mmseg.models'):
        import_module(module)
    yield Finding(GOOD, 'imports', 'mmengine, mmcv, mmseg.models')


def check_compiler() -> Iterator[Finding]:
    """Find the C++ compiler that local attention on the CPU is compiled with."""
    from mmmtl.ops.local_attention.cpu_backend import find_compiler

    wanted = os.environ.get('CXX') or 'c++'
    try:
        compiler = find_compiler()
    except ValueError as error:
        yield Finding(WORSE, 'compiler', f'CXX={wanted}: {error}', 'unset CXX')
        return
    if compiler is None:
        text = f'{wanted} is not in PATH: compiled models and local attention are slower; g++ or clang++ will do'
        on_linux = platform.system() == 'Linux'  # WSL included
        text += '' if on_linux else '; local attention is compiled only on Linux and WSL'
        yield Finding(WORSE, 'compiler', text, 'sudo apt-get install g++' if on_linux else '')
    else:
        yield Finding(GOOD, 'compiler', ' '.join([str(shutil.which(compiler[0])), *compiler[1:]]))


def check_local_attention() -> Iterator[Finding]:
    """Find which backends of local attention run here; the one for the CPU may be compiled now."""
    from mmmtl.ops.local_attention import available_backends, missing_backends

    yield Finding(GOOD, 'local attention', f'backends {", ".join(available_backends())}')
    for name, why in missing_backends().items():
        yield Finding(WORSE if name == 'cpu' else GOOD, 'local attention', f'without {name}: {why}')


def check_videos() -> Iterator[Finding]:
    """Find PyAV, or what OpenCV has instead."""
    if version('av') is None:
        text = 'PyAV is not installed: OpenCV reads and writes videos, without AV1 and at one rate'
        yield Finding(WORSE, 'videos', text, 'pip install "av>=17.1"')
        return
    av = import_module('av')
    codecs = [name for name in ('h264', 'hevc', 'vp9', 'av1') if name in av.codecs_available]
    writes = 'VP9' if 'libvpx-vp9' in av.codecs_available else 'no VP9'
    yield Finding(GOOD, 'videos', f'PyAV {version("av")}: reads {", ".join(codecs)}, ...; writes {writes}')


def version(distribution: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _refusal(name: str, error: Exception) -> Finding:
    """Return what `mmmtl._environment` refuses; the lines after the first are the repair."""
    text, *repair = str(error).splitlines()
    return Finding(BROKEN, name, text.removesuffix(' Repair it with'), '\n'.join(line.strip() for line in repair))


CHECKS = (
    check_python,
    check_owners,
    check_packages,
    check_torch,
    check_openmmlab,
    check_compiler,
    check_local_attention,
    check_videos,
)

DEFAULT_REPAIRS = {
    check_openmmlab: f'pip install --force-reinstall --no-deps {" ".join(map(json.dumps, REQUIRED.values()))}',
    check_videos: 'pip install --force-reinstall "av>=17.1"',
}
"""{check: the repair if it fails}; that of the others is to install mmmtl anew."""
