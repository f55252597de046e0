"""benchmark.py: the table, the file, modes, and errors that say what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

TOOL = 'tools/analysis_tools/benchmark.py'
QUICK = ('--device', 'cpu', '--shape', 32, 64, '--rounds', 3, '--warmup', 1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_stream(run_tool: Callable[..., str], root: Path, tmp_path: Path) -> None:
    file = tmp_path / 'new' / 'latency.json'
    config = root / 'tests' / 'configs' / 'tiny_video.py'
    printed = run_tool(TOOL, config, *QUICK, '--threads', 1, '--batch', 2, '--optimize', 'fuse', '--json', file)
    found = json.loads(file.read_text())
    assert (found['mode'], found['shape'], found['batch'], found['optimize']) == ('stream', [32, 64], 2, 'fuse')
    assert found['machine']['threads'] == 1
    key, other = (found['frames'][kind] for kind in ('key', 'non_key'))
    assert len(key['seconds']) == len(other['seconds']) == 3
    assert 0 < key['median_ms'] <= key['p95_ms'] <= key['p99_ms'] <= max(key['seconds']) * 1e3 * (1 + 1e-9)
    assert found['average_ms'] == pytest.approx((key['median_ms'] + 4 * other['median_ms']) / 5)
    assert key['frames_per_second'] == pytest.approx(2e3 / key['median_ms'])
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in printed.splitlines() if line.startswith('|')]
    assert [line[0] for line in lines] == ['frame', 'key', 'non-key', 'average (K = 5)']
    assert float(lines[1][1]) == pytest.approx(key['median_ms'], abs=0.006)
    assert 'stream, 32x64 pixels (height x width), batch 2, cpu, 1 threads, optimize=fuse, float32' in printed
    assert 'rounds' not in printed, 'no progress bar where nobody looks'


def test_clips_and_pictures(run_tool: Callable[..., str], root: Path) -> None:
    configs = root / 'tests' / 'configs'
    clip = run_tool(TOOL, configs / 'tiny_video.py', *QUICK, '--mode', 'clip')
    assert '| non-key' in clip
    assert 'clip, 32x64' in clip
    image = run_tool(TOOL, configs / 'tiny_image.py', *QUICK, '--tasks', 'depth')
    assert '| image' in image
    assert 'average' not in image


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--device', 'cpu'), r'tiny_video\.py: .*--shape H W'),
        ((*QUICK, '--mode', 'image'), "'image'.*VideoMultiTaskSegmentor"),
        ((*QUICK, '--dtype', 'bfloat16'), 'torch.bfloat16.*optimize'),
        ((*QUICK, '--mode', 'clip', '--optimize', 'compile'), '--mode clip.*--optimize'),
        (('no-such-weights.pth', *QUICK), r'no-such-weights\.pth'),
        ((*QUICK, '--clock', 'cpu', '--threads', 2), '--clock cpu.*--device cpu --threads 1'),
    ],
)
def test_errors(run_tool: Callable[..., str], root: Path, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        run_tool(TOOL, root / 'tests' / 'configs' / 'tiny_video.py', *arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--device', 'cuda'), '--device: cuda: .*no such device'),
        (('--device', 'gpu'), "--device: .*'gpu'"),
        (('--rounds', '0'), "--rounds: .*'0'"),
        (('--batch', '-3'), "--batch: .*'-3'"),
        (('--threads', 'many'), "--threads: .*'many'"),
        (('--shape', '0', '64'), "--shape: .*'0'"),
    ],
)
def test_arguments_that_cannot_be(
    run_tool: Callable[..., str],
    root: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        run_tool(TOOL, root / 'tests' / 'configs' / 'tiny_video.py', *arguments)
    assert re.search(message, capsys.readouterr().err)


def test_another_file_in_the_place_of_the_config(run_tool: Callable[..., str], tmp_path: Path) -> None:
    (weights := tmp_path / 'iter_6.pth').write_bytes(b'')
    with pytest.raises(SystemExit, match=r"iter_6\.pth: .*'\.py'.*'\.pth'"):
        run_tool(TOOL, weights)
