"""The model that comes with mmmtl, exported, against PyTorch on a hundred rendered frames, and without PyTorch."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmmtl.apis import MultiTaskInferencer, read_frames
from mmmtl.export import Export, OnnxStream, export_model
from mmmtl.export.compare import TorchStream
from mmmtl.structures import Array

from .conftest import RUN

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.data,
    pytest.mark.filterwarnings('ignore:mila-indoor. frames that are scaled'),
]


@pytest.fixture(scope='module')
def inferencer() -> MultiTaskInferencer:
    return MultiTaskInferencer('mila-indoor', device='cpu', size='letterbox')  # as exported


@pytest.fixture(scope='module')
def frames() -> list[Array]:
    videos = sorted((ROOT / 'data/house_video/frames').glob('*'))
    if not videos:
        pytest.skip('needs data/house_video')
    return list(itertools.islice(itertools.chain.from_iterable(map(read_frames, videos)), 100))


@pytest.fixture(scope='module')
def indoor(inferencer: MultiTaskInferencer, frames: list[Array], tmp_path_factory: pytest.TempPathFactory) -> Export:
    pytest.importorskip('onnxscript')
    return export_model(inferencer, tmp_path_factory.mktemp('indoor') / 'out', frames, name='mila-indoor')


def test_every_task_on_a_hundred_frames(indoor: Export) -> None:
    print(indoor.table())
    assert indoor.frames == 100
    errors = indoor.found['onnx'].error
    assert errors.keys() == {'semseg', 'depth', 'normals'} and max(errors.values()) < 1e-3


def test_maps_without_torch(
    indoor: Export, inferencer: MultiTaskInferencer, frames: list[Array], tmp_path: Path
) -> None:
    """The folder runs in a new environment of NumPy and onnxruntime, with the maps of `MultiTaskInferencer.stream`."""
    python, frames = tmp_path / 'venv/bin/python', frames[:16]
    subprocess.run([sys.executable, '-m', 'venv', str(tmp_path / 'venv')], check=True, timeout=600)
    done = subprocess.run(
        [str(python), '-m', 'pip', 'install', 'numpy', 'onnxruntime'], capture_output=True, text=True, timeout=1800
    )
    if done.returncode:
        pytest.skip(f'pip cannot install: {done.stderr[-200:]}')
    np.save(tmp_path / 'frames.npy', np.stack(frames)[..., ::-1])
    paths = [str(indoor.folder), str(tmp_path / 'frames.npy'), str(tmp_path / 'maps.npz')]
    done = subprocess.run([str(python), '-I', '-c', RUN, *paths], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / 'maps.npz')
    ours, theirs, state = OnnxStream(indoor.folder), TorchStream(inferencer.model), None
    for number, (frame, maps) in enumerate(inferencer.stream(frames)):
        for name in ('depth', 'normals'):
            expected = maps[name]
            np.testing.assert_allclose(found[f'{number}.{name}'], expected, atol=1e-3 * np.abs(expected).max())
        logits, _, state = theirs.advance(ours.prepare(frame[..., ::-1])[0], state)
        # The frames are as wide as the model's, so that there are bars below but nothing is resized.
        scores = np.sort(logits['semseg'][0, :, : frame.shape[0]], axis=0)
        other = found[f'{number}.semseg'] != maps['semseg']
        assert (scores[-1] - scores[-2])[other[0]].max(initial=0) < 2e-3 * np.abs(scores).max()
    assert number == len(frames) - 1
