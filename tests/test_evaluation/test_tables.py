"""The printed tables and the metric files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmmtl.evaluation import class_table, metrics_table, read_metrics, write_metrics
from mmmtl.evaluation.metric_files import arrow, choose_metrics, format_metric
from mmmtl.tasks import build_tasks

TASKS = build_tasks(
    {
        'semseg': dict(type='SemanticSegmentation', classes=['a', 'b']),
        'disparity': dict(type='DisparityEstimation'),
    },
    'the test',
)


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line[0] == '|']


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (None, ''), (12345.0, '12345'), (1234567.0, '1234567'), (12345.63, '12345.6'), (45.2871, '45.29'),
        (0.30371, '0.3037'), (-0.5, '-0.5'), (float('nan'), 'nan'),
    ],
)  # fmt: skip
def test_numbers_have_no_exponent(value: float | None, text: str) -> None:
    assert format_metric(value) == text


def test_images_have_one_column() -> None:
    table = metrics_table({'semseg/mIoU': 51.23456, 'disparity/abs_err': 0.0001234, 'data_time': 0.1}, TASKS)

    assert rows(table) == [
        ['metric', 'better', 'value'],
        ['semseg/mIoU', 'higher', '51.23'],
        ['disparity/abs_err', 'lower', '0.0001234'],
    ]


def test_scores_of_single_images_and_over_time_have_rows_of_their_own() -> None:
    table = metrics_table({'temporal/semseg/TC': 80.0, 'per_image/semseg/mIoU': 60.0, 'semseg/mIoU': 50.0}, TASKS)

    assert rows(table)[1:] == [
        ['semseg/mIoU', 'higher', '50'],
        ['per_image/semseg/mIoU', 'higher', '60'],
        ['temporal/semseg/TC', 'higher', '80'],
    ]


def test_arrows_are_those_of_all_registered_tasks() -> None:
    assert [arrow(f'x/{name}') for name in ('mIoU', 'abs_err', 'TC', 'warp_err', 'nothing')] == [
        ' ↑',
        ' ↓',
        ' ↑',
        ' ↓',
        '',
    ]
    assert arrow('disparity/mIoU', {'disparity/mIoU': False}) == ' ↓', 'what is known goes first'


def test_every_chosen_metric_comes_once() -> None:
    assert choose_metrics(None, ['b', 'a', 'b']) == ['b', 'a']
    assert choose_metrics(['a', 'b', 'a'], ['b', 'a']) == ['a', 'b']


def test_clips_have_one_for_each_offset_and_others_stand_beside() -> None:
    metrics = {
        'semseg/mIoU': 50.0,
        'pooled/semseg/mIoU': 49.0,
        'offset_10/semseg/mIoU': 40.0,
        'offset_2/semseg/mIoU': 60.0,
        'offset_2/disparity/abs_err': 3.0,
        'disparity/abs_err': 3.0,
        'delta_m': -1.25,
    }

    table = metrics_table(metrics, TASKS, {'majority': {'semseg/mIoU': 12.5}, 'fast only': {'disparity/abs_err': 4.0}})

    assert rows(table) == [
        ['metric', 'better', 'mean of offsets', 'offset 2', 'offset 10', 'majority', 'fast only'],
        ['semseg/mIoU', 'higher', '50', '60', '40', '12.5', ''],
        ['disparity/abs_err', 'lower', '3', '3', '', '', '4'],
        ['delta_m', 'higher', '-1.25', '', '', '', ''],
    ]


def test_the_file_holds_the_keys_flat_and_meta(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'metrics.json'

    write_metrics(path, {'semseg/mIoU': 50.25, 'offset_2/semseg/mIoU': 60.0}, {'config': 'a.py', 'checkpoint': 'b.pth'})

    assert json.loads(path.read_text()) == {
        'semseg/mIoU': 50.25,
        'offset_2/semseg/mIoU': 60.0,
        'meta': {'config': 'a.py', 'checkpoint': 'b.pth'},
    }


def test_the_file_is_json_even_without_a_number(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f'{constant} is not JSON')

    path = tmp_path / 'metrics.json'
    write_metrics(path, {'semseg/mIoU': float('nan'), 'disparity/abs_err': float('inf')}, {})

    metrics = json.loads(path.read_text(), parse_constant=refuse)
    assert metrics == {'semseg/mIoU': None, 'disparity/abs_err': None, 'meta': {}}
    assert rows(metrics_table(metrics, TASKS))[1:] == [
        ['semseg/mIoU', 'higher', ''],
        ['disparity/abs_err', 'lower', ''],
    ]


@pytest.mark.parametrize(('count', 'height'), [(3, 3), (12, 12), (13, 7), (40, 10), (124, 31)])
def test_classes_stand_side_by_side(count: int, height: int) -> None:
    table = class_table({f'name{i}': float(i) for i in range(count)}, 'semseg')
    lines = table.splitlines()
    assert len(lines) == height + 6 and 'semseg' in lines[1]
    assert all(f' name{i} ' in table and f' {i}.00 ' in table for i in range(count))
    assert max(map(len, lines)) <= 100


def test_classes_are_read_down_each_column() -> None:
    cells = rows(class_table({name: float(i) for i, name in enumerate('abcde')}, 'semseg', rows=3))
    assert cells[2:] == [['a', '0.00', 'd', '3.00'], ['b', '1.00', 'e', '4.00'], ['c', '2.00', '', '']]


def test_the_file_holds_the_classes_beside_the_metrics(tmp_path: Path) -> None:
    write_metrics(tmp_path / 'm.json', {'semseg/mIoU': 25.0}, {}, {'semseg': {'wall': 25.0, 'sky': float('nan')}})
    assert json.loads((tmp_path / 'm.json').read_text())['class_iou'] == {'semseg': {'wall': 25.0, 'sky': None}}
    assert read_metrics(tmp_path / 'm.json') == {'semseg/mIoU': 25.0}
