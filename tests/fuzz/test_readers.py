"""Damaged files: what is right, or a documented error that names the file; the process lives on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmmtl.datasets import VideoFolder
from mmmtl.datasets.conversion import archives
from mmmtl.datasets.conversion.nyu_labeled import LabeledFile
from mmmtl.datasets.readers import read_names
from mmmtl.io import ChildReader, read_image, read_mat, read_npy, read_raw
from mmmtl.io.arrays import MAX_ARRAY_BYTES
from mmmtl.io.checkpoints import load_from_local

from . import seeds
from .conftest import Outcome
from .mutations import SEEDS, damage, rename_a_call

TASKS = dict(semseg=dict(type='SemanticSegmentation', classes=['a', 'b']))
NUMBERS = (np.uint8, np.uint16, np.int32, np.float32)


@pytest.fixture(scope='module')
def child() -> Iterator[ChildReader]:
    with ChildReader(timeout=20) as reader:
        yield reader


@given(seed=SEEDS, name=st.sampled_from(sorted(seeds.images())))
def test_images(tmp_path: Path, outcome: Outcome, seed: int, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(damage(seeds.images()[name], seed))
    image = outcome(read_image, path)
    assert image is None or (image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size)


@given(seed=SEEDS, name=st.sampled_from(sorted(seeds.labels())))
def test_labels_with_checksums(tmp_path: Path, outcome: Outcome, seed: int, name: str) -> None:
    data, right = seeds.labels()[name]
    path = tmp_path / name
    path.write_bytes(damage(data, seed))
    found = outcome(read_raw, path)
    assert found is None or np.array_equal(found, right)


@given(seed=SEEDS, name=st.sampled_from(sorted(seeds.unchecked_labels())))
def test_labels_without_checksums(tmp_path: Path, outcome: Outcome, seed: int, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(damage(seeds.unchecked_labels()[name], seed))
    found = outcome(read_raw, path)
    assert found is None or (found.dtype.type in NUMBERS and found.ndim in (2, 3))


@given(seed=SEEDS)
def test_npy(tmp_path: Path, outcome: Outcome, seed: int) -> None:
    path = tmp_path / 'a.npy'
    path.write_bytes(damage(seeds.npy(), seed))
    found = outcome(read_npy, path)
    assert found is None or (found.dtype.kind in 'biuf' and found.size)


@given(seed=SEEDS, packed=st.booleans(), key=st.sampled_from(['LabelMap', 'anno']))
def test_mat(tmp_path: Path, outcome: Outcome, child: ChildReader, seed: int, packed: bool, key: str) -> None:
    path = tmp_path / 'a.mat'
    path.write_bytes(damage(seeds.mat(packed=packed), seed))
    found = outcome(lambda path: child(read_mat, path, key), path)
    assert found is None or (isinstance(found, np.ndarray) and found.nbytes <= MAX_ARRAY_BYTES)
    if found is not None and packed and key == 'LabelMap':  # with a checksum
        np.testing.assert_array_equal(found, seeds.DEPTH)


@given(seed=SEEDS)
def test_hdf5(tmp_path: Path, outcome: Outcome, seed: int) -> None:
    pytest.importorskip('h5py')
    path = tmp_path / 'a.mat'
    path.write_bytes(damage(seeds.hdf5(), seed))

    def read(path: Path) -> None:
        with LabeledFile(path) as file:
            for key in ('images', 'depths'):
                for index in range(min(file.count(key), 3)):
                    assert file.read(key, index).ndim in (2, 3)
            assert all(isinstance(name, str) for name in file.strings('rawRgbFilenames'))

    outcome(read, path)


@given(seed=SEEDS, what=st.sampled_from(['file', 'pickle', 'calls']))
def test_checkpoints(tmp_path: Path, outcome: Outcome, seed: int, what: str) -> None:
    path = tmp_path / 'a.pth'
    whole, pickled = seeds.checkpoint()
    changed = rename_a_call(pickled, seed) if what == 'calls' else damage(pickled, seed)
    path.write_bytes(damage(whole, seed) if what == 'file' else seeds.checkpoint_of(changed))
    found = outcome(load_from_local, path)
    assert found is None or isinstance(found, dict)


@given(seed=SEEDS, utf16=st.booleans())
def test_videos_json(tmp_path: Path, outcome: Outcome, seed: int, utf16: bool) -> None:
    path = tmp_path / 'videos.json'
    data = seeds.videos()
    path.write_bytes(damage(data.decode().encode('utf-16') if utf16 else data, seed))

    def read(path: Path) -> None:
        try:
            VideoFolder(path.parent, metainfo=dict(tasks=TASKS))
        except FileNotFoundError as error:  # of the frames, which do not exist
            assert f'{path.parent / "frames"}{os.sep}' in str(error)

    outcome(read, path)


@given(seed=SEEDS)
def test_lists(tmp_path: Path, outcome: Outcome, seed: int) -> None:
    path = tmp_path / 'train.txt'
    path.write_bytes(damage('0001\r\n0002\r\n# süd\r\nstraße/0003.jpg\r\n'.encode('utf-8-sig'), seed))
    names = outcome(read_names, path)
    assert names is None or all(name and name == name.strip() for name in names)


@given(seed=SEEDS, name=st.sampled_from(sorted(seeds.archives())))
def test_archives(tmp_path_factory: pytest.TempPathFactory, outcome: Outcome, seed: int, name: str) -> None:
    folder = tmp_path_factory.mktemp('archive')
    path = folder / name
    path.write_bytes(damage(seeds.archives()[name], seed))
    outcome(lambda path: archives.extract(path, folder / 'inner' / 'out'), path)
    assert {found.name for found in folder.iterdir()} <= {name, 'inner'}
    assert {found.name for found in (folder / 'inner').iterdir()} <= {'out'}
    assert not any(found.is_symlink() for found in folder.rglob('*'))
