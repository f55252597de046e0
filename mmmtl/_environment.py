"""The check that exactly one distribution provides each of mmengine, mmcv and mmseg; torchvision that does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType

from mmmtl._import_hooks import AroundFinder

__all__: list[str] = []

# The lines of requirements/mminstall.txt; a test compares them.
REQUIRED = {
    'mmengine': 'onedl-mmengine>=0.10.12,<0.11',
    'mmcv': 'onedl-mmcv>=2.3.6,<2.4',
    'mmseg': 'onedl-mmsegmentation>=1.4.2,<1.5',
}

# Every distribution that installs into each of these packages.
OWNERS = {
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-full', 'mmcv-lite', 'onedl-mmcv'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
}

# What torch and the loader of shared libraries say of a torchvision that was built for another torch.
MISFIT = re.compile(
    r"torchvision::|'extension'|\btorch[._]|libtorch|libc10|libcu|symbol|CUDA|WinError 127", re.IGNORECASE
)


def find_problem(distributions: Collection[str], importable: Collection[str]) -> str | None:
    """Return a message with the fix if an mm package is missing or has two owners; None if all is well.

    Two distributions that own one package overwrite each other's files; neither pip nor an import notices.

    Args:
        distributions: the installed distributions among those in `OWNERS`.
        importable: the packages that Python finds among the keys of `OWNERS`.
    """
    requirements = ' '.join(f'"{requirement}"' for requirement in REQUIRED.values())
    installed = {package: [name for name in names if name in distributions] for package, names in OWNERS.items()}
    shared = {package: names for package, names in installed.items() if len(names) > 1}
    if shared:
        facts = '; '.join(f'{package} belongs to {" and ".join(names)}' for package, names in shared.items())
        # Uninstall all: removing one deletes files of the other, and the rest may depend on the wrong family.
        everything = ' '.join(name for names in installed.values() for name in names)
        return (
            f'Two distributions have installed the same package: {facts}. They have overwritten files of each other. '
            'Repair it with\n'
            f'  pip uninstall -y {everything}\n'
            f'  pip install --force-reinstall --no-deps {requirements}'
        )
    missing = [package for package in OWNERS if package not in importable]
    if missing:
        return (
            f'mmmtl needs {", ".join(missing)}, which {"is" if len(missing) == 1 else "are"} not installed. '
            'In a clone of mmmtl, `pip install -r requirements/mminstall.txt` or `mim install -r '
            'requirements/mminstall.txt` installs the right ones. Repair it with\n'
            f'  pip install {requirements}'
        )
    return None


def torchvision_problem(error: Exception) -> str:
    """Return a message with the fix for a torchvision that raises this when it is imported."""
    torch = metadata.version('torch')
    text = ' '.join(str(error).split())
    what = f'does not fit torch {torch}' if MISFIT.search(text) else 'cannot be imported'
    return (
        f'the installed torchvision {what}: {type(error).__name__}: {text}. mmmtl does not need it, so the first '
        'command is enough; the second installs one that fits, for packages that do. Repair it with\n'
        '  pip uninstall -y torchvision\n'
        f'  pip install torchvision "torch=={torch}"{wheel_index(torch)}'
    )


def wheel_index(version: str) -> str:
    """Return the option of pip for the index that a build of torch, such as 2.13.0+cpu, came from."""
    found = re.fullmatch(r'[^+]+\+(cpu|xpu|cu\d+|rocm[\d.]+)', version)
    return f' --index-url https://download.pytorch.org/whl/{found[1]}' if found else ''


class TorchvisionFinder(AroundFinder):
    """A finder for torchvision. With one that was built for another torch, neither timm nor mmseg can be imported."""

    modules = ('torchvision',)

    def around(self, module: ModuleType, execute: Callable[[ModuleType], None]) -> None:
        """Execute torchvision; raise a RuntimeError with the fix if that fails as one for another torch does."""
        try:
            execute(module)
        except (RuntimeError, OSError, AttributeError) as error:
            raise RuntimeError(torchvision_problem(error)) from error


def check_environment() -> None:
    """Raise an ImportError with the fix if an mm package is missing or has two owners; import none of them."""
    distributions = [name for names in OWNERS.values() for name in names if _is_installed(name)]
    importable = [package for package in OWNERS if find_spec(package) is not None]
    problem = find_problem(distributions, importable)
    if problem is not None:
        raise ImportError(problem)


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
