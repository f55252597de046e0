"""The inventory of public names: what users may rely on, and what UPGRADING.md must explain when it changes.

`python tests/test_api_surface.py` writes it anew.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmmtl
from mmmtl import registry

INVENTORY = Path(__file__).with_name('api_surface.txt')


def signature_of(value: Any) -> str:
    """Return the names and defaults of the arguments; types are left out, which Python versions print differently."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ''
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(plain))


def describe(name: str, value: Any) -> str:
    if inspect.ismodule(value):
        return f'{name} (module)'
    # What is not ours, such as `Memory = dict[str, Tensor]`, has a signature in some versions of Python and NumPy.
    ours = callable(value) and value.__module__.startswith('mmmtl.')
    return f'{name}{signature_of(value)}' if ours else name


def exported_names() -> Iterator[str]:
    """Yield what the `__all__` of every sub-package names."""
    for info in pkgutil.walk_packages(mmmtl.__path__, 'mmmtl.'):
        if not info.ispkg and info.name.count('.') > 1:
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, '__all__', ()):
            yield describe(f'{info.name}.{name}', getattr(module, name))


def registered_names() -> Iterator[str]:
    """Yield the components that configs name, with their arguments."""
    for room in registry.__all__:
        for name, kind in getattr(registry, room).module_dict.items():
            if kind.__module__.startswith('mmmtl.'):
                yield describe(f'{room}: {name}', kind)


def surface() -> list[str]:
    # Exported names first: importing them registers the components.
    return [*sorted(exported_names()), *sorted(registered_names())]


def test_the_public_names_are_those_of_the_inventory() -> None:
    found, listed = surface(), INVENTORY.read_text().splitlines()
    assert len(found) > 200
    new, gone = sorted(set(found) - set(listed)), sorted(set(listed) - set(found))
    assert not (new or gone), (
        f'new: {new}; gone: {gone}. List renamed and removed names in UPGRADING.md, then run {Path(__file__).name}'
    )


if __name__ == '__main__':
    INVENTORY.write_text('\n'.join(surface()) + '\n')
