"""An exported stream against PyTorch on a hundred real frames."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from mmmtl.apis import MultiTaskInferencer, read_frames
from mmmtl.export import export_model

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/mila/mila_mbv2-mbv3-k5_1xb4-5k_nyuv2stills-288x384.py'


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.filterwarnings('ignore:no checkpoint')
def test_every_task_on_a_hundred_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('onnxscript')
    videos = sorted((ROOT / 'data/house_video/frames').glob('*'))
    if not videos or not (ROOT / 'data/weights').is_dir():
        pytest.skip('needs data/house_video and data/weights')
    monkeypatch.chdir(ROOT)
    torch.manual_seed(0)
    inferencer = MultiTaskInferencer(CONFIG, device='cpu')
    inferencer.model.init_weights()
    frames = itertools.islice(itertools.chain.from_iterable(read_frames(video) for video in videos), 100)
    done = export_model(inferencer, tmp_path / 'out', frames, name='mila')
    assert done.frames == 100
    assert len(done.found['onnx'].error) == 3
    assert all(error < 1e-3 for error in done.found['onnx'].error.values())
