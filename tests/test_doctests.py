"""The examples in the docstrings of the whole package."""

from __future__ import annotations

import doctest
import importlib.util
import pkgutil

import mmmtl


def test_examples_in_docstrings_are_right() -> None:
    names = [module.name for module in pkgutil.walk_packages(mmmtl.__path__, 'mmmtl.')]
    if not importlib.util.find_spec('triton'):
        names.remove('mmmtl.ops.local_attention.triton_kernels')
    results = [doctest.testmod(importlib.import_module(name)) for name in names]

    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 35
