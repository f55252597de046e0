"""Encodings of images and labels: the exact array, or a refusal that names the file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from mmmtl.io import read_image, read_raw

from .encodings import FILES, Encoded


def outcome(read, path: Path, right: np.ndarray | None, tolerance: int = 0) -> str:
    try:
        found = read(path)
    except ValueError as error:
        assert str(path) in str(error)
        return 'refused'
    assert right is not None, f'{path.name} was read'
    assert found.shape == right.shape and found.dtype == right.dtype and found.flags['C_CONTIGUOUS']
    assert np.abs(found.astype(float) - right.astype(float)).max() <= tolerance
    return 'exact'


@pytest.mark.parametrize('examples', [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_exact_or_refused(tmp_path: Path, examples: int) -> None:
    outcomes: Counter[str] = Counter()

    @settings(max_examples=examples)
    @given(FILES)
    def check(file: Encoded) -> None:
        path = tmp_path / file.name
        path.write_bytes(file.data)
        label = outcome(read_raw, path, file.stored)
        image = outcome(read_image, path, file.shown, file.tolerance)
        # What is defined is read: refusing everything would pass otherwise.
        assert (label == 'exact') == (file.stored is not None), path.name
        dark = path.suffix == '.png' and '_16' in path.name or path.name.startswith('I16')
        assert (image == 'exact') == (file.shown is not None) or dark, path.name
        outcomes.update([f'label {label}', f'image {image}'])

    check()
    assert {'label exact', 'image exact'} <= outcomes.keys()
    assert examples < 1000 or len(outcomes) == 4
