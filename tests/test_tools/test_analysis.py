"""aggregate.py, analyze_logs.py, confusion_matrix.py, dataset_statistics.py and publish_model.py: their numbers."""

from __future__ import annotations

import hashlib
import json
import math
import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.io.checkpoints import load_from_local
from mmmtl.tasks import build_tasks

from .conftest import rows

AGGREGATE, LOGS, CONFUSION, STATISTICS, OFFSETS, COSTS = (
    f'tools/analysis_tools/{name}.py'
    for name in (
        *('aggregate', 'analyze_logs', 'confusion_matrix', 'dataset_statistics'),
        *('offset_curve', 'cost_curve'),
    )
)

Run = Callable[..., str]


def test_seeds_are_aggregated(run_tool: Run, tmp_path: Path) -> None:
    files = []
    for name, scores in {'a': (41.0, 44.0, 44.0), 'b': (40.0, 42.0, 41.0)}.items():
        for seed, score in enumerate(scores):
            path = tmp_path / f'{name}{seed}.json'
            path.write_text(json.dumps({'semseg/mIoU': score}))
            files.append(f'{name}={path}')
    out = tmp_path / 'table.json'
    printed = run_tool(AGGREGATE, *files, '--baseline', 'b', '--out', out)
    # Differences 1, 2, 3: mean 2, deviation 1, half of the interval 4.303 / sqrt(3).
    assert rows(printed)[1:] == [
        ['semseg/mIoU ↑', 'a', '3', '43', '1.73', '+2', '-0.484 to +4.48', '3'],
        ['semseg/mIoU ↑', 'b', '3', '41', '1', '', '', ''],
    ]
    first, second = json.loads(out.read_text())
    assert first['difference']['high'] == pytest.approx(2 + 4.30265 / math.sqrt(3), abs=1e-4)
    assert second['difference'] is None and second['deviation'] == 1.0
    assert rows(run_tool(AGGREGATE, files[0]))[1] == ['semseg/mIoU ↑', 'a', '1', '41', '']
    with pytest.raises(SystemExit, match=r'a0\.json: .*NAME='):
        run_tool(AGGREGATE, tmp_path / 'a0.json')
    with pytest.raises(SystemExit, match=r"--baseline c: .*\['a'\]"):
        run_tool(AGGREGATE, files[0], '--baseline', 'c')


def test_clear_differences_are_marked(run_tool: Run, tmp_path: Path) -> None:
    files, out = [], tmp_path / 'table.json'
    seeds = {'a': [(43.0, 1.0), (44.0, 1.1), (45.0, 1.2)], 'b': [(40.0, 2.0), (41.0, 2.1), (42.1, None)]}
    for name, scores in seeds.items():
        for seed, (miou, error) in enumerate(scores):
            path = tmp_path / f'{name}{seed}.json'
            path.write_text(json.dumps({'semseg/mIoU': miou, **({'depth/rmse': error} if error else {})}))
            files.append(f'{name}={path}')
    found = {tuple(row[:2]): row[2:] for row in rows(run_tool(AGGREGATE, *files, '--baseline', 'b'))[1:]}
    assert found['semseg/mIoU ↑', 'a'][3] == '+2.97 *'
    # The third seed of b has no depth, so that of a has no pair.
    assert found['depth/rmse ↓', 'a'] == ['3', '1.1', '0.1', '-1 *', '-1 to -1', '2']
    assert found['depth/rmse ↓', 'b'] == ['2', '2.05', '0.0707', '', '', '']
    single = run_tool(AGGREGATE, files[0], files[3], '--baseline', 'b', '--metrics', 'semseg/mIoU', '--out', out)
    assert rows(single)[1] == ['semseg/mIoU ↑', 'a', '1', '43', '', '+3', '', '1'], 'no interval of one pair'
    difference = json.loads(out.read_text())[0]['difference']
    assert (difference['mean'], difference['low'], difference['high']) == (3.0, None, None)


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='/dev/full stands for a full disk')
@pytest.mark.parametrize('tool', [AGGREGATE, OFFSETS, COSTS, CONFUSION])
def test_files_are_written_although_the_output_cannot_be(
    run_tool: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    path, out = tmp_path / 'metrics.json', tmp_path / ('table.md' if tool == AGGREGATE else 'figure.svg')
    scores = {'offset_0/semseg/mIoU': 50.0, 'semseg/mIoU': 50.0, 'stream/GMAC': 1.0}
    path.write_text(json.dumps({**scores, 'confusion': {'semseg': {'a': {'a': 1}}}}))
    with open('/dev/full', 'w', buffering=1) as stdout:
        monkeypatch.setattr(sys, 'stdout', stdout)
        with pytest.raises(SystemExit, match='No space left'):
            run_tool(tool, path if tool == CONFUSION else f'run={path}', '--out', out)
    assert out.stat().st_size > 0


def test_logs_are_analysed(run_tool: Run, tmp_path: Path) -> None:
    for start, records in {
        '1': [{'loss': 3.0, 'time': 1.0, 'data_time': 0.5, 'iter': 10, 'step': 10}, {'loss': 9.0, 'step': 20}],
        '2': [
            {'loss': 1.0, 'step': 20},
            {'loss': 2.0, 'time': 1.0, 'data_time': 0.1, 'iter': 30, 'step': 30},
            {'semseg/mIoU': 50.0, 'time': 7.0, 'data_time': 7.0, 'step': 30},
        ],
    }.items():
        path = tmp_path / start / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(map(json.dumps, records)))
    out = tmp_path / 'curves.svg'
    printed = run_tool(LOGS, f'run={tmp_path}', '--out', out)
    # A resumed run repeats iteration 20.
    assert rows(printed)[1:] == [['loss', 'run', '2', '1', '20', '3'], ['semseg/mIoU ↑', 'run', '50', '50', '30', '1']]
    assert 'run: 1 s an iteration, 0.3 s for data (medians)' in printed and out.read_text().startswith('<?xml')
    with pytest.raises(SystemExit, match="'los'.*'loss'"):
        run_tool(LOGS, tmp_path, '--keys', 'los')
    with pytest.raises(SystemExit, match=r'2: no .*scalars\.json'):
        run_tool(LOGS, tmp_path / '2')
    (path.parent / 'scalars.json').write_text('{"lr": 0.1, "iter": 1, "step": 1}')
    (tmp_path / '1' / 'vis_data' / 'scalars.json').unlink()
    with pytest.raises(SystemExit, match='nothing to draw'):
        run_tool(LOGS, tmp_path, '--out', out)


def test_the_best_of_a_log_depends_on_the_metric(run_tool: Run, tmp_path: Path) -> None:
    path = tmp_path / '1' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    scores = [
        {'semseg/mIoU': 50.0, 'depth/rmse': 1.0, 'step': 10},
        {'semseg/mIoU': 40.0, 'depth/rmse': 2.0, 'step': 20},
    ]
    times = [{'loss': 1.0, 'time': time, 'iter': step, 'step': step} for step, time in enumerate((1.0, 2.0, 9.0), 1)]
    path.write_text('\n'.join(map(json.dumps, [*times, *scores])))
    printed = run_tool(LOGS, f'run={tmp_path}', '--keys', 'semseg/mIoU', 'depth/rmse')
    assert rows(printed)[1:] == [
        ['semseg/mIoU ↑', 'run', '40', '50', '10', '2'],
        ['depth/rmse ↓', 'run', '2', '1', '10', '2'],
    ]
    assert 'run: 2 s an iteration, 0 s for data' in printed
    with pytest.raises(SystemExit, match="'run' names two runs"):
        run_tool(LOGS, f'run={tmp_path}', f'run={tmp_path}')


def test_confusions_are_listed(run_tool: Run, tmp_path: Path) -> None:
    path, out = tmp_path / 'metrics.json', tmp_path / 'confusion.png'
    matrix = {'a': {'a': 6, 'b': 3, 'c': 1}, 'b': {'a': 1, 'b': 1, 'c': 0}, 'c': {'a': 0, 'b': 0, 'c': 0}}
    path.write_text(json.dumps({'confusion': {'semseg': matrix}}))
    printed = run_tool(CONFUSION, path, '--top', 2, '--out', out)
    assert rows(printed)[-2:] == [['b', 'a', '50.0'], ['a', 'b', '30.0']] and out.stat().st_size > 1000
    every = rows(run_tool(CONFUSION, path))[2:]
    assert every == [['b', 'a', '50.0'], ['a', 'b', '30.0'], ['a', 'c', '10.0']], 'no share of zero'
    with pytest.raises(SystemExit, match=r"metrics\.json: --task .*\['semseg'\]"):
        run_tool(CONFUSION, path, '--task', 'depth')
    path.write_text('{"semseg/mIoU": 1.0}')
    with pytest.raises(SystemExit, match=r'metrics\.json: no confusion'):
        run_tool(CONFUSION, path)


def test_labels_are_described(run_tool: Run, tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    out = tmp_path / 'statistics.json'
    run_tool(STATISTICS, tiny[0], '--split', 'val', '--samples', 2, '--out', out, '--cfg-options', *tiny[1])
    found = json.loads(out.read_text())
    assert found['read'] == 2 and found['samples'] > 2 and found['sizes'] == {'32x64': 2}
    classes = found['tasks']['semseg']['classes']
    assert sum(share['pixels'] for share in classes.values()) == pytest.approx(100)
    assert all((share['images'] > 0) == (share['pixels'] > 0) for share in classes.values())
    values = found['tasks']['depth']['values']
    assert 0 < values['least'][0] < values['mean'][0] < values['most'][0]
    assert len(found['tasks']['normals']['values']['mean']) == 3


@pytest.mark.parametrize(
    ('task', 'maps', 'expected'),
    [
        (
            dict(type='SemanticSegmentation', classes=['a', 'b']),
            [[[0, 1], [1, 255]], [[0, 0], [0, 0]]],
            dict(labelled=87.5, classes={'a': dict(pixels=500 / 7, images=100), 'b': dict(pixels=200 / 7, images=50)}),
        ),
        (
            dict(type='DepthEstimation', max_depth=10.0),
            [[[4.0, 2.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]],
            dict(labelled=37.5, values=dict(least=[2.0], mean=[3.0], most=[4.0])),
        ),
        (
            dict(type='SurfaceNormals'),
            [[[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]], [[[0.0, -1.0, 0.0], [0.0, 0.0, 0.0]]]],
            dict(labelled=50.0, values=dict(least=[0, -1, 0], mean=[0, -0.5, 0.5], most=[0, 0, 1])),
        ),
    ],
)
def test_statistics_of_maps(task: dict[str, Any], maps: list[Any], expected: dict[str, Any], root: Path) -> None:
    statistics = runpy.run_path(str(root / STATISTICS))['Statistics'](build_tasks({'one': task}, 'the test')['one'])
    for array in maps:
        statistics.add(np.array(array))
    assert statistics.summary() == {'maps': 2, **expected}


def test_maps_without_classes_are_not_measured(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build_tasks({'edge': dict(type='EdgeDetection')}, 'the test')['edge']
    monkeypatch.delattr(type(task), 'measure')
    statistics = runpy.run_path(str(root / STATISTICS))['Statistics'](task)
    statistics.add(np.array([[0.0, 1.0, 255.0, 1.0]]))
    assert statistics.summary() == dict(maps=1, labelled=75.0, values=dict(least=[0], mean=[2 / 3], most=[1]))


def test_the_most_frequent_sizes(root: Path) -> None:
    most = runpy.run_path(str(root / STATISTICS))['most']
    assert most(Counter('aaabbc')) == 'a (3), b (2), c (1)'
    assert most(Counter('ffabbccddee')) == 'f (2), b (2), c (2), d (2), e (2) and 1 more'


@pytest.fixture
def publish(run_tool: Run) -> Run:
    """A function from a checkpoint, a folder, a format and more options to the output of publish_model.py."""

    def run(source: Path, out: Path, suffix: str, *more: object) -> str:
        card = ('--name', 'm', '--licence', 'MIT', '--data', 'D')
        return run_tool('tools/misc/publish_model.py', source, '--out-dir', out, '--format', suffix, *card, *more)

    return run


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_a_published_model_holds_weights_alone(publish: Run, tmp_path: Path, suffix: str) -> None:
    tasks = {
        'depth': {'type': 'DepthEstimation', 'max_depth': 10.0},
        'normals': {'type': 'SurfaceNormals', 'auxiliary': True},
    }
    weights = {'backbone.weight': torch.rand(200, 100), 'weighting.count': torch.ones(1)}
    dilations = {'backbone.conv': [1, 1, 2, 2]}
    meta = {'dataset_meta': {'tasks': tasks}, 'task_order': ['depth', 'a'], 'seed': 1, 'convolutions': dilations}
    checkpoint = {'state_dict': weights, 'meta': meta, 'optimizer': {'a': 1}}
    source, metrics, out = tmp_path / 'iter_1.pth', tmp_path / 'metrics.json', tmp_path / 'out'
    torch.save(checkpoint, source)
    metrics.write_text('{"depth/abs_err": 0.5, "offset_0/depth/abs_err": 0.4, "stream/GMAC": 3.0}')
    printed = publish(source, out, suffix, '--metrics', metrics)
    (file,) = out.glob(f'*.{suffix}')
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f'm-{digest[:8]}.{suffix}' and file.stat().st_mode & 0o044 == 0o044
    found = load_from_local(file)
    assert found.keys() == {'state_dict', 'meta'} and found['meta']['dataset_meta'] == {'tasks': tasks}
    assert found['meta']['task_order'] == ['depth', 'a']
    assert found['meta']['convolutions'] == dilations, 'without them, other dilations would not be noticed'
    assert found['state_dict'].keys() == {'backbone.weight'}
    assert torch.equal(found['state_dict']['backbone.weight'], weights['backbone.weight'])
    card = file.with_suffix('.md').read_text()
    assert digest in card and 'MIT' in card and '| depth/abs_err ↓ | 0.5 |' in card and 'offset_0' not in card
    assert '- `depth`: DepthEstimation\n- `normals`: SurfaceNormals (auxiliary' in card
    assert 'stream/' not in card and 'Values: 0.02 million' in card
    line = re.search(rf'replace line (\d+) of {file.with_suffix(".md")}', printed)
    assert line is not None and card.splitlines()[int(line[1]) - 1].startswith('Say what')
    if suffix == 'safetensors':  # equal weights give an equal file
        with pytest.raises(SystemExit, match=file.name):
            publish(source, out, suffix)
        assert file.with_suffix('.md').read_text() == card


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_only_kernels_become_halves(publish: Run, tmp_path: Path, suffix: str) -> None:
    weights = {'weight': torch.ones(2, 2), 'bias': torch.ones(2), 'count': torch.ones(2, 2, dtype=torch.int64)}
    torch.save({'state_dict': weights}, tmp_path / 'iter_1.pth')
    publish(tmp_path / 'iter_1.pth', tmp_path / 'out', suffix, '--dtype', 'float16')
    (file,) = (tmp_path / 'out').glob(f'*.{suffix}')
    found = {name: value.dtype for name, value in load_from_local(file)['state_dict'].items()}
    assert found == {'weight': torch.float16, 'bias': torch.float32, 'count': torch.int64}


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_halves_that_would_overflow_are_not_published(publish: Run, tmp_path: Path, suffix: str) -> None:
    torch.save({'state_dict': {'weight': torch.full((2, 2), 1e6)}}, tmp_path / 'iter_1.pth')
    with pytest.raises(SystemExit, match=r'weight: values up to 1e\+06 do not fit'):
        publish(tmp_path / 'iter_1.pth', tmp_path / 'out', suffix, '--dtype', 'float16')
    assert not list((tmp_path / 'out').iterdir())


def test_unscored_classes_are_labelled_pixels(run_tool: Run, tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    found = []
    for unscored in ((), ('tasks.semseg.unscored=ground,',)):
        out = tmp_path / f'{len(unscored)}.json'
        run_tool(
            STATISTICS, tiny[0], '--split', 'val', '--samples', 2, '--out', out, '--cfg-options', *tiny[1], *unscored
        )
        found.append(json.loads(out.read_text())['tasks']['semseg']['classes'])
    left = {name: share['pixels'] for name, share in found[1].items() if name in found[0] and name != 'ground'}
    assert found[0]['ground']['pixels'] > 5
    assert left == {name: pytest.approx(found[0][name]['pixels']) for name in left}
