"""benchmarks/stream_runner.py on a tiny model and few frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:no checkpoint')
def test_every_measurement_is_written(run_tool: Callable[..., str], root: Path, tmp_path: Path) -> None:
    config, out, curve = root / 'tests/configs/tiny_video.py', tmp_path / 'r.json', tmp_path / 'memory.svg'
    short = ('--frames', 4, '--rounds', 1, '--rate', 50, '--long', 12, '--device', 'cpu')
    run_tool('benchmarks/stream_runner.py', '--model', config, *short, '--json', out, '--curve', curve)
    found = json.loads(out.read_text())
    assert found['overhead']['model_ms'] > 0 and found['overhead']['stages_ms'].keys() > {'decode', 'infer', 'write'}
    assert [row['streams'] for row in found['streams']] == [1, 2, 4, 8]
    assert len(found['memory']['samples']) == 12 and curve.stat().st_size
