"""The hook that writes the predictions of a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.engine import MapWriterHook, build_runner
from mmmtl.io import read_image


@pytest.mark.parametrize('stream', [False, True])
def test_the_predictions_of_a_test(tmp_path: Path, make_config: Callable[..., Any], stream: bool) -> None:
    """What is written is what the metrics saw: clips by offset, whole videos frame by frame."""
    cfg = make_config(**{'test_dataloader.dataset.clip.offsets': [0, 2]})
    cfg.custom_hooks = [dict(type='MapWriterHook', out_dir=str(tmp_path / 'out'), npy=True)]
    if stream:
        cfg.test_cfg = dict(type='StreamTestLoop')
    runner = build_runner(cfg)
    seen: dict[tuple[Any, ...], dict[str, torch.Tensor]] = {}
    process = runner.test_loop.evaluator.process

    def watch(data_samples: Any, data_batch: Any = None) -> None:
        for sample in data_samples:
            seen[sample.get('offset'), sample.video, sample.time] = dict(sample.pred.items())
        process(data_samples=data_samples, data_batch=data_batch)

    runner.test_loop.evaluator.process = watch
    runner.test()

    assert {offset for offset, *_ in seen} == ({None} if stream else {0, 2})
    for (offset, video, time), maps in seen.items():
        folder = tmp_path / 'out' / (f'offset{offset}' if offset is not None else '')
        for name, array in maps.items():
            stored = np.load(folder / name / video / f'{time:06d}.npy')
            np.testing.assert_array_equal(np.atleast_3d(stored), array.permute(1, 2, 0).numpy())
        assert read_image(folder / 'frames' / video / f'{time:06d}.jpg').shape[:2] == maps['semseg'].shape[1:]
        assert video in json.loads((folder / 'videos.json').read_text())
    with pytest.raises(ValueError, match='out'):
        MapWriterHook(out_dir=str(tmp_path / 'out'))
