"""offset_curve.py and cost_curve.py: numbers of the table, the figure, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import matplotlib.figure
import pytest

from .conftest import rows

OFFSETS, COSTS = 'tools/analysis_tools/offset_curve.py', 'tools/analysis_tools/cost_curve.py'

Run = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, metrics: dict[str, Any]) -> str:
        path = tmp_path / f'{name}.json'
        path.write_text(json.dumps({**metrics, 'meta': {}}))
        return str(path)

    return write


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that are saved."""
    saved = []
    original = matplotlib.figure.Figure.savefig

    def savefig(self: matplotlib.figure.Figure, *args: Any, **kwargs: Any) -> None:
        saved.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', savefig)
    return saved


@pytest.fixture
def clips(write: Callable[..., str]) -> dict[str, str]:
    """Two models, K = 3 and K = 2; only the first has depth."""
    first = {
        'semseg/mIoU': 40.0,
        'offset_0/semseg/mIoU': 50.0,
        'offset_1/semseg/mIoU': 40.0,
        'offset_2/semseg/mIoU': 30.0,
    }
    first |= {'depth/abs_err': 2.0, **{f'offset_{o}/depth/abs_err': 1.0 + o for o in range(3)}}
    second = {'semseg/mIoU': 35.5, 'offset_0/semseg/mIoU': 36.0, 'offset_1/semseg/mIoU': 35.0}
    return {'first': write('first', first), 'second': write('second', second)}


def test_metrics_over_offsets(run_tool: Run, clips: dict[str, str], tmp_path: Path, figures: list[Any]) -> None:
    out = tmp_path / 'new' / 'curve.png'
    printed = run_tool(OFFSETS, f'mila={clips["first"]}', clips['second'], '--out', out)
    assert rows(printed) == [
        ['metric', 'of', 'mean of offsets', 'offset 0', 'offset 1', 'offset 2'],
        ['semseg/mIoU', 'mila', '40', '50', '40', '30'],
        ['semseg/mIoU', clips['second'], '35.5', '36', '35', ''],
        ['depth/abs_err', 'mila', '2', '1', '2', '3'],
    ]
    panel = cv2.imread(str(out))
    assert panel is not None and panel.shape[0] > 200 and panel.std() > 5
    (figure,) = figures
    semseg, depth = (axis for axis in figure.axes if axis.get_visible())
    assert (semseg.get_title(), depth.get_title()) == ('semseg/mIoU ↑', 'depth/abs_err ↓')
    curve, mean, other, _ = semseg.lines
    assert curve.get_xydata().tolist() == [[0, 50], [1, 40], [2, 30]]
    assert list(mean.get_ydata()) == [40, 40]
    assert other.get_xydata().tolist() == [[0, 36], [1, 35]]
    assert [text.get_text() for text in semseg.get_legend().get_texts()] == ['mila', clips['second']]


def test_chosen_metrics_and_other_formats(run_tool: Run, clips: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / 'curve.svg'
    printed = run_tool(OFFSETS, clips['first'], '--metrics', 'depth/abs_err', '--out', out)
    assert [row[0] for row in rows(printed)] == ['metric', 'depth/abs_err']
    assert out.read_text().startswith('<?xml')


def test_metrics_over_cost(run_tool: Run, write: Callable[..., str], tmp_path: Path, figures: list[Any]) -> None:
    def measured(cost: float, ratio: float, miou: float) -> dict[str, float]:
        stream = {'stream/frames': 30, 'stream/key_frame_ratio': ratio, 'stream/GMAC': cost}
        return {'semseg/mIoU': miou, 'temporal/semseg/TC': 90.0, **stream}

    slow, fast = write('k1', measured(4.0, 1.0, 50.0)), write('k4', measured(1.75, 0.25, 40.0))
    change = write('change', measured(2.5, 0.5, 48.0))
    image = write('image', {'semseg/mIoU': 51.0, 'stream/frames': 30, 'stream/GMAC': 5.0})
    out = tmp_path / 'cost.pdf'
    files = (f'fixed={slow}', f'change={change}', f'fixed={fast}', f'image={image}')
    printed = run_tool(COSTS, *files, '--metrics', 'semseg/mIoU', '--out', out)
    assert rows(printed) == [
        ['of', 'GMAC per frame', 'key frames (%)', 'semseg/mIoU'],
        ['fixed', '1.75', '25', '40'],
        ['change', '2.5', '50', '48'],
        ['fixed', '4', '100', '50'],
        ['image', '5', '', '51'],
    ]
    assert out.read_bytes().startswith(b'%PDF')
    (figure,) = figures
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines == {'fixed': [[1.75, 40], [4, 50]], 'change': [[2.5, 48]], 'image': [[5, 51]]}
    assert rows(run_tool(COSTS, *files))[0][3:] == ['semseg/mIoU', 'temporal/semseg/TC']


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        (OFFSETS, ['{first}', '{first}'], r'first\.json.*NAME=metrics\.json'),
        (OFFSETS, ['nowhere.json'], r'nowhere\.json.*tools/test\.py'),
        (OFFSETS, ['a={plain}'], '^a: .*--offsets all'),
        (OFFSETS, ['{first}', '--metrics', 'semseg/mIou'], "'semseg/mIou'.*'semseg/mIoU'"),
        (OFFSETS, ['{first}', '--out', 'curve.txt'], r'curve\.txt.*png.*svg'),
        (COSTS, ['a={plain}'], r'^a: .*stream/GMAC.*tools/test\.py --stream'),
        (COSTS, ['{broken}'], r'broken\.json: .*JSON'),
        (COSTS, ['{plain}', '--out', 'curve'], r'curve: .*png.*svg'),
    ],
)
def test_what_they_refuse(
    run_tool: Run,
    clips: dict[str, str],
    write: Callable[..., str],
    tmp_path: Path,
    tool: str,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / 'broken.json').write_text('{')
    known = {**clips, 'plain': write('plain', {'semseg/mIoU': 1.0}), 'broken': str(tmp_path / 'broken.json')}
    with pytest.raises(SystemExit, match=message):
        run_tool(tool, *(argument.format(**known) for argument in arguments))
