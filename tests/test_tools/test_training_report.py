"""benchmarks/training.py: the report, with a verdict on each order of rows."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from .conftest import BENCHMARKS


def test_scores_of_two_thirds_and_of_the_end(training: Any) -> None:
    record = {'scores': {'2000': {'a': 3.0}, '667': {'a': 1.0}, '1334': {'a': 2.0}}}
    assert (training.scores.two_thirds(record), training.scores.end(record)) == ({'a': 2.0}, {'a': 3.0})


def test_the_end_alone_decides_nothing(training: Any) -> None:
    def values(row: str, metric: str, at: Any) -> dict[int, float]:
        gains = [1.0, 2.0] if at is training.scores.two_thirds else [10.0] * 3
        return {seed: seed + gain * (row == 'A') for seed, gain in enumerate(gains)}

    order = training.report.decide(('A', 'B'), 'semseg/mIoU', values)
    assert order.verdict == 'undecided' and order.cells[1:] == ['+10 [+10, +10]', 'undecided, 3 seeds']
    # With one degree of freedom, P(|T| > x) = 1 - 2 / pi * atan(x); here x is 1.5 / 0.5.
    assert (order.pairs, order.p) == (3, pytest.approx(1 - 2 / math.pi * math.atan(3)))


def records(training: Any, gains: dict[str, list[float]]) -> Any:
    """Return the scores of runs whose mIoU is 50 plus a gain for each seed, and whose errors are lower by as much."""
    table = training.tables.TABLES['video-tiny']
    settings = training.runs.Settings(table, table.iterations)
    found = []
    for name, values in gains.items():
        for seed, gain in enumerate(values):
            metrics = {'semseg/mIoU': 50 + gain, 'depth/abs_err': 40 - gain, 'normals/mean': 30 - gain}
            metrics |= {f'offset_{o}/{key}': value for o in range(2) for key, value in metrics.items() if '/' in key}
            third = table.iterations // 3
            scores = {str(third): {}, str(2 * third): metrics, str(3 * third): metrics}
            cost = dict(params=2_000_000, macs={'average': 3e9}, device='a CPU')
            found.append(dict(settings.identity(table.row(name), seed), scores=scores, **cost))
    return training.scores.Scores(settings, [*found, {**found[0], 'iterations': 7}])


def test_orders_with_their_verdicts(training: Any) -> None:
    scores = records(training, {'MILA': [1.0, 2.1, 3.2], 'MILA w/o TS': [0.0, 1.0, 2.0], 'slow only': [9.0]})
    lines, orders = training.report.paper_section(training.papers.MILA_TABLES[0], scores)
    assert Counter(order.verdict for order in orders) == {'held': 3, 'undecided': 21}
    text = '\n'.join(lines)
    assert '| MILA before MILA w/o TS | semseg/mIoU ↑ | +1.1 | +1.1 [+0.852, +1.35] |' in text
    assert '| MILA before MILA w/o TS | depth/abs_err ↓ | -0.3 | -1.1 [-1.35, -0.852] |' in text
    assert text.count('**held**, 3 seeds') == 3
    assert '| MILA before D101-MultiTask | semseg/mIoU ↑ | +1 | -8 | -8 | undecided, 1 seed |' in text
    assert '| D101-MultiTask | 37.1 | 59 | 39 | 31 | 23.7 | 21 | 3 | 2 | 1 |' in text
    assert '| MILA | 38.1 | 52.1 ± 1.1 |' in text


def test_two_seeds_decide_nothing(training: Any) -> None:
    scores = records(training, {'MILA': [1.0, 2.1], 'MILA w/o TS': [0.0, 1.0]})
    lines, orders = training.report.paper_section(training.papers.MILA_TABLES[0], scores)
    assert [order.verdict for order in orders] == ['undecided'] * 24
    assert sum('undecided, 2 seeds' in line for line in lines) == 3


def test_suppositions_are_judged_like_orders(training: Any) -> None:
    assert training.report.suppositions_section(records(training, {'MILA': [1.0]})) == ([], [])
    gains = {'MILA': [1.0, 2.1, 3.2], 'fast only': [0.0, 1.0, 2.0], 'MILA, 60 % key frames': [9.0, 1.1, 3.0]}
    lines, orders = training.report.suppositions_section(records(training, gains))
    assert Counter(order.verdict for order in orders) == {'held': 3, 'undecided': 4}
    found = [[cell.strip() for cell in line.split('|')[2:-1]] for line in lines if ' before ' in line]
    assert len(found) == 7
    assert [
        'MILA before fast only',
        'non_key/semseg/mIoU ↑',
        *['+1.1 [+0.852, +1.35]'] * 2,
        '**held**, 3 seeds',
    ] in found
    assert [
        'MILA before fast only',
        'non_key/normals/mean ↓',
        *['-1.1 [-1.35, -0.852]'] * 2,
        '**held**, 3 seeds',
    ] in found
    assert {row[-1] for row in found if row[0].startswith('MILA, 60')} == {'undecided, 3 seeds'}


def test_an_image_model_has_one_score_for_all_offsets(training: Any) -> None:
    scores = records(training, {'MILA': [1.0], 'slow only': [2.0]})
    for key in [key for key in training.scores.end(scores.found['slow only'][0]) if key.startswith('offset_')]:
        del training.scores.end(scores.found['slow only'][0])[key]
    training.scores.end(scores.found['MILA'][0])['offset_0/semseg/mIoU'] = 55.0
    assert scores.of_row('MILA', 'offset_0/semseg/mIoU', training.scores.end) == {0: 55.0}
    assert scores.of_row('slow only', 'offset_0/semseg/mIoU', training.scores.end) == {0: 52.0}
    training.scores.end(scores.found['MILA'][0]).update({'offset_1/semseg/mIoU': 50.0, 'offset_2/semseg/mIoU': 44.0})
    assert scores.of_row('MILA', 'non_key/semseg/mIoU', training.scores.end) == {0: 47.0}
    assert scores.of_row('slow only', 'non_key/semseg/mIoU', training.scores.end) == {0: 52.0}
    training.scores.end(scores.found['MILA'][0])['offset_2/semseg/mIoU'] = None
    assert scores.of_row('MILA', 'non_key/semseg/mIoU', training.scores.end) == {}


def test_suppositions_name_rows_that_exist(training: Any) -> None:
    for name, suppositions in training.papers.SUPPOSITIONS.items():
        names = {row.name for row in training.tables.TABLES[name].rows}
        assert {row for s in suppositions for order in s.orders for row in order} <= names


def test_a_partial_table_has_only_rows_and_orders_with_scores(training: Any) -> None:
    scores = records(training, {'MILA': [1.0], 'MILA w/o TS': [0.0]})
    whole, _ = training.report.paper_section(training.papers.MILA_TABLES[0], scores)
    table = replace(scores.settings.table, name='part')
    part = training.scores.Scores(training.runs.Settings(table, table.iterations), sum(scores.found.values(), []))
    lines, orders = training.report.paper_section(training.papers.MILA_TABLES[0], part)
    assert [order.name for order in orders] == ['MILA before MILA w/o TS'] * 3
    assert [line for line in lines if line in whole] == lines
    assert not any('MTAN' in line for line in lines) and any('MTAN' in line for line in whole)


def test_runs_of_other_settings_are_counted_and_left_out(training: Any) -> None:
    scores = records(training, {'MILA': [0.0]})
    assert (list(scores.found), scores.others) == (['MILA'], 1)
    heading = '\n'.join(training.report.heading(scores))
    assert 'Finished: 1 run, of 1 of 43 rows, seed 0, on a CPU.' in heading
    assert 'has 1 more' in heading


def test_delta_m_is_relative_to_runs_of_the_same_seed(training: Any) -> None:
    table = training.tables.TABLES['image-tiny']
    settings = training.runs.Settings(table, table.iterations)

    def record(name: str, seed: int, metrics: dict[str, float]) -> Any:
        return dict(settings.identity(table.row(name), seed), scores={'2': metrics, '3': metrics})

    found = [
        record('single-task, semseg', 0, {'semseg/mIoU': 40.0}),
        record('single-task, depth', 0, {'depth/rmse': 1.0}),
        record('single-task, semseg', 1, {'semseg/mIoU': 40.0}),
        *(record('SCA, 2 tasks', seed, {'semseg/mIoU': 44.0, 'depth/rmse': 0.7}) for seed in range(2)),
    ]
    scores = training.scores.Scores(settings, found)
    paper = training.papers.SCA_TABLES[0]
    assert scores.values(paper, 'SCA-MTL teacher', 'delta_m', training.scores.end) == {0: pytest.approx(20.0)}
    assert scores.seeds(paper, 'single task') == [0]
    others = [
        record('single-task, semseg', 1, {'semseg/mIoU': 50.0}),
        record('single-task, depth', 1, {'depth/rmse': 0.7}),
    ]
    both = training.scores.Scores(settings, [found[0], found[1], *others, *found[3:]])
    gains = both.values(paper, 'SCA-MTL teacher', 'delta_m', training.scores.end)
    assert gains == {0: pytest.approx(20.0), 1: pytest.approx(-6.0)}
    found[-1]['scores']['3']['depth/rmse'] = 0.9
    for record in found:
        record |= dict(params=1_000_000, macs={'image': 1e9}, device='a CPU')
    text, _ = training.report.paper_section(paper, scores)
    (line,) = [line for line in text if line.startswith('| SCA-MTL teacher | ')]
    assert '| 0.8 ± 0.14 |' in line and '| 20 (1 seed) |' in line and line.endswith('| 2 |')


def test_what_is_decided_has_a_false_discovery_rate(training: Any) -> None:
    def order(verdict: str, p: float) -> Any:
        return training.report.Order('A before B', 'semseg/mIoU', verdict, ['+1', '+2', f'**{verdict}**'], 3, p)

    judged = [('one', order('held', 0.01)), ('two', order('undecided', 0.5)), ('two', order('not held', 0.03))]
    # Sorted, p times 3 over its rank: 0.03, 0.045, 0.5.
    assert list(training.report.decided_rows(judged)) == [
        '| one | A before B | semseg/mIoU ↑ | +2 | 0.03 | **held** |',
        '| two | A before B | semseg/mIoU ↑ | +2 | 0.045 | **not held** |',
    ]
    assert list(training.report.decided_rows([])) == []


def test_curves_over_offset_and_cost(training: Any) -> None:
    scores = records(training, {'MILA': [0.0, 1.0], 'slow only, semseg': [2.0]})
    (curve,) = scores.offset_panels()['semseg/mIoU ↑']
    assert (curve.label, list(curve.x), list(curve.y)) == ('MILA, 2 seeds', [0, 1], [50.5, 50.5])
    assert not scores.cost_panels()  # one point compares nothing
    found = {'MILA': [0.0, 1.0], 'slow only': [2.0], 'slow only, semseg': [3.0], 'ILA, semseg, K = 5': [4.0]}
    all_tasks, alone = records(training, found).cost_panels().items()
    assert all_tasks[0] == ('semseg', 'depth', 'normals') and alone[0] == ('semseg',)
    point, other = all_tasks[1]['semseg/mIoU ↑']
    assert (point.label, list(point.x), list(point.y)) == ('MILA, 2 seeds', [3.0], [50.5])
    assert (other.label, list(other.y)) == ('slow only, 1 seed', [52.0])
    assert [curve.label for curve in alone[1]['semseg/mIoU ↑']] == [
        'slow only, semseg, 1 seed',
        'ILA, semseg, K = 5, 1 seed',
    ]


def test_the_cost_of_single_tasks_is_their_sum(training: Any) -> None:
    scores = records(training, {row: [0.0] for row in training.papers.SINGLE})
    assert scores.cost(training.papers.MILA_TABLES[0], 'D101-SingleTask') == ('9', '6')
    assert scores.cost(training.papers.MILA_TABLES[0], 'MILA') == ('', '')


def test_docs_results_is_up_to_date(training: Any) -> None:
    text = (BENCHMARKS.parent / 'docs/results.md').read_text()
    assert text == training.report.report(training.report.read_scores()), 'run `python benchmarks/training.py report`'
    head, *sections = text.split('\n## ')
    for verdict in ('**held**', '**not held**'):  # the page begins with all that is decided
        assert head.count(verdict) == '\n'.join(sections).count(verdict)
    pictures = re.findall(r'\]\((results/\S+)\)', text)
    assert all((BENCHMARKS.parent / 'docs' / picture).is_file() for picture in pictures)
