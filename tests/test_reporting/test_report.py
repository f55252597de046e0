"""The report: what it shows, that it is one file without a network, and that text from files stays text."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl import commands
from mmmtl.evaluation import Baseline
from mmmtl.evaluation.metric_files import direction
from mmmtl.io import read_image
from mmmtl.registry import TASKS
from mmmtl.reporting import Run, SampleFolder, figures, read_run, write_report
from mmmtl.reporting.page import TEMPLATE
from mmmtl.reporting.samples import Sample
from mmmtl.reporting.tables import NO_BASELINE, class_rows, gain_row, metric_rows
from mmmtl.visualization.curves import Curve

VOID = {'meta', 'img', 'rect'}
SECTIONS = [
    'metrics',
    'classes',
    'offsets',
    'cost',
    'training',
    'gradients',
    'confusion',
    'samples',
    'environment',
    'config',
]


ENVIRONMENT = """2026/01/01 00:00:00 - mmengine - INFO -
------------------------------------------------------------
System environment:
    sys.platform: linux
    <b>GCC</b>: none

Runtime environment:
    seed: 0
------------------------------------------------------------

the rest
"""

METRICS: dict[str, Any] = {
    'semseg/mIoU': 40.0,
    'depth/abs_err': 0.5,
    'offset_0/semseg/mIoU': 50.0,
    'offset_1/semseg/mIoU': 30.0,
    'class_iou': {'semseg': {'wall': 60.0, 'floor': None}},
    'confusion': {'semseg': {'wall': {'wall': 3, 'floor': 1}, 'floor': {'wall': 0, 'floor': 0}}},
    'meta': {
        'config': '<script>alert(1)</script>',
        'primary': {'semseg/mIoU': 'higher', 'depth/abs_err': 'lower'},
        'GMAC': 2.5,
    },
}


def write_log(folder: Path, start: str, text: str, config: str | None = None) -> None:
    """Write the log of a training run that started at a time, and its config."""
    data = folder / start / 'vis_data'
    data.mkdir(parents=True)
    (data / 'scalars.json').write_text(text)
    if config is not None:
        (data / 'config.py').write_text(config)


def write_run(folder: Path, **changes: Any) -> Path:
    """Write a work folder as training and test leave it."""
    lines = [
        {'loss': 3.0 - step / 10, 'depth.loss_l1': 1.0, 'grad_cosine/depth-semseg': 0.5, 'lr': 0.1, 'step': step}
        for step in (10, 20)
    ]
    lines.append({'semseg/mIoU': 35.0, 'offset_0/semseg/mIoU': 3.0, 'time': 0.1, 'step': 20})
    log = '\n'.join(map(json.dumps, lines)) + '\n{"loss": 1'
    write_log(folder, '20260101_000000', log, f"name = '{folder.name} </pre><img src=x>'\nseed = 0\n")
    (folder / '20260101_000000' / '20260101_000000.log').write_text(ENVIRONMENT)
    (folder / 'metrics.json').write_text(json.dumps({**METRICS, **changes}))
    sample = Sample('depth', 'worst', 'room <1>, frame 3', 2.0, 'depth/abs_err', 'depth_worst_1.jpg')
    SampleFolder(folder / 'samples').write([(sample, np.full((8, 8, 3), 90, np.uint8))])
    return folder


class Page(HTMLParser):
    """What a browser would see: tags with attributes, the text of each section, and rows of tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.section = ''
        self.path = path
        self.text: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self.feed(path.read_text())
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == 'section':
            self.section = str(dict(attrs)['id'])
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text[self.section] = self.text.get(self.section, '') + data
        if self.open and self.open[-1] in ('td', 'th'):
            self.rows[-1][-1] += data.replace('\u200b', '')

    def images(self, kind: str) -> list[str]:
        sources = [str(attributes['src']) for tag, attributes in self.tags if tag == 'img']
        return [
            base64.b64decode(source.partition(',')[2]).decode('latin1')
            for source in sources
            if source.startswith(f'data:image/{kind};base64,')
        ]


@pytest.fixture(scope='module')
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp('runs')
    first = write_run(folder / 'first')
    second = write_run(
        folder / 'second', **{'semseg/mIoU': 44.0, 'depth/abs_err': 0.4, 'class_iou': {'semseg': {'wall': 66.0}}}
    )
    out = folder / 'report.html'
    commands.main(['report', str(first), f'other={second}', '--out', str(out)])
    return Page(out)


def test_every_section_is_there_with_its_numbers(page: Page) -> None:
    assert [attributes['id'] for tag, attributes in page.tags if tag == 'section'] == SECTIONS
    assert ['metric', 'first', 'other'] in page.rows
    assert ['semseg/mIoU ↑', '40', '44'] in page.rows and ['depth/abs_err ↓', '0.5', '0.4'] in page.rows
    assert ['wall', '60', '66'] in page.rows and ['floor', '–', '–'] not in page.rows
    assert ['Δm ↑', '+0.00', '+15.00'] in page.rows
    assert ['0', '50'] in page.rows and ['mean', '44'] in page.rows
    figures = page.images('svg+xml')
    # Offsets 1, cost 2, losses 2, validation 1, cosines 1, confusion 2.
    assert len(figures) == 9 and all('<svg' in figure for figure in figures)
    assert len(page.images('jpeg')) == 2 and 'room <1>, frame 3: depth/abs_err ↓ 2' in page.text['samples']
    assert 'seed: 0' in page.text['environment'] and 'the rest' not in page.text['environment']
    assert "-name = 'first" in page.text['config'] and "+name = 'second" in page.text['config']
    assert not any('Not here' in text for text in page.text.values())


def test_the_best_are_marked(page: Page) -> None:
    best = [attributes for tag, attributes in page.tags if tag == 'td' and attributes.get('class') == 'best']
    assert len(best) == 4  # two metrics, delta_m, one class


def test_nothing_is_loaded_and_text_of_files_is_text(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ('script', 'iframe', 'link', 'object')
        for name in ('src', 'href', 'data', 'srcset'):
            assert re.match(r'data:|#', attributes.get(name) or '#')
    text = page.path.read_text()
    assert '<img src=x>' not in text and '<b>GCC' not in text and "default-src 'none'" in text
    assert '<script>alert(1)</script>' in page.text['metrics'] and '<b>GCC</b>' in page.text['environment']
    assert 'safe' not in re.findall(r'\w+', TEMPLATE.read_text())


def test_points_of_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, 'curve_figure', lambda title, curves, x_label, **_: curves)
    runs, key = [read_run(write_run(tmp_path / 'run'))], 'semseg/mIoU'
    assert figures.offset_figures(runs, [key]) == {key: [Curve('run', [0, 1], [50.0, 30.0], level=40.0)]}
    assert figures.cost_figures(runs, [key]) == {key: [Curve('run', [2.5], [40.0])]}
    assert figures.series_figures(runs, lambda name: name == 'loss') == {'loss': [Curve('run', [10, 20], [2.0, 1.0])]}


def test_the_cost_of_a_stream_goes_before_that_of_an_average_frame() -> None:
    assert Run('one', {'stream/GMAC': 1.0}, meta={'GMAC': 2.0}).gmac == 1.0
    assert Run('one', meta={'GMAC': 2.0}).gmac == 2.0


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / 'bare')
    for path in ('metrics.json', 'samples/samples.json', '20260101_000000/20260101_000000.log'):
        (folder / path).unlink()
    commands.main(['report', str(folder)])
    found = Page(folder / 'report.html')
    for section in ('metrics', 'classes', 'offsets', 'cost', 'confusion', 'samples', 'config'):
        assert 'Not here' in found.text[section]
    assert str(folder / 'metrics.json') in found.text['metrics'] and '--report' in found.text['metrics']
    assert len(found.images('svg+xml')) == 4


def test_a_metric_that_is_not_a_number_has_a_row(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / 'run', **{'depth/abs_err': None}))
    assert [(one.name, one.cells) for one in metric_rows([run])] == [
        ('semseg/mIoU ↑', ('40',)), ('depth/abs_err ↓', ('–',))
    ]  # fmt: skip


def test_there_is_no_figure_of_a_metric_that_nobody_has(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / 'run', **{'depth/abs_err': None}))
    write_report(tmp_path / 'x.html', [run])
    # Offsets 1, cost 1, losses 2, validation 1, cosines 1, confusion 1.
    assert len(Page(tmp_path / 'x.html').images('svg+xml')) == 7


@pytest.mark.parametrize(
    ('primary', 'first', 'others'),
    [({'own/f1': 'higher'}, ['own/f1'], ['own/mine']), ({}, ['own/f1', 'own/mine'], [])],
)
def test_primary_metrics_of_validation_stand_before_the_others(
    tmp_path: Path, primary: dict[str, str], first: list[str], others: list[str]
) -> None:
    meta = {'primary': primary, 'better': {'own/f1': 'higher', 'own/mine': 'higher'}}
    write_report(tmp_path / 'x.html', [Run('one', meta=meta, series={key: {1: 0.5} for key in ('own/f1', 'own/mine')})])
    section = (tmp_path / 'x.html').read_text().partition('Metrics of validation')[2].partition('</section>')[0]
    before, _, after = section.partition('All other metrics')
    assert [re.findall('alt="curves of ([^"]*)"', part) for part in (before, after)] == [first, others]


def test_a_confusion_matrix_stands_below_its_run_and_task(tmp_path: Path) -> None:
    runs = [
        Run(name, {'a/mIoU': 1.0}, confusion={task: {'wall': {'wall': hits, 'floor': 100 - hits}}})
        for name, task, hits in (('one', 'a', 83), ('two', 'a', 71), ('three', 'b', 64))
    ]
    write_report(tmp_path / 'x.html', runs)
    pattern = r'<figcaption>([^<]*)</figcaption><img src="data:image/svg\+xml;base64,([^"]*)" alt="confusion'
    drawn = {
        title: base64.b64decode(data).decode() for title, data in re.findall(pattern, (tmp_path / 'x.html').read_text())
    }
    numbers = {title: re.findall(r'>(83|71|64)</text>', svg) for title, svg in drawn.items()}
    assert numbers == {'one: a': ['83'], 'two: a': ['71'], 'three: b': ['64']}


def test_files_without_a_number_are_there(tmp_path: Path) -> None:
    folder = write_run(tmp_path / 'run')
    (folder / 'metrics.json').write_text('{"semseg/mIoU": null}')
    (log,) = folder.glob('*/vis_data/scalars.json')
    log.write_text('{"loss": NaN, "step": 1}\n')
    missing = read_run(folder).missing
    assert missing['metrics'].startswith(f'no number in {folder}/metrics.json')
    assert missing['training log'].startswith(f'no number in {folder}/TIME/vis_data/scalars.json')


def test_runs_are_in_order_although_the_clock_goes_back(tmp_path: Path) -> None:
    moments = {'20261025_025000': '00:50', '20261025_021500': '01:15'}
    for number, (start, moment) in enumerate(moments.items(), 1):
        log = ''.join(f'{{"loss": {number}, "step": {number + i}}}\n' for i in (0, 1))
        config = f"resume = {number == 2}\nstarted = '2026-10-25T{moment}:00.000+00:00'\nnumber = {number}\n"
        write_log(tmp_path, start, log, config)
    run = read_run(tmp_path)
    assert run.series == {'loss': {1: 1.0, 2: 2.0, 3: 2.0}}
    assert 'number = 2' in run.config


def test_a_training_that_did_not_resume_stands_alone(tmp_path: Path) -> None:
    for number in (1, 2):
        log = f'{{"loss": {number}, "step": {number}}}\n'
        write_log(tmp_path, f'2026010{number}_000000', log, 'resume = False\n')
    assert read_run(tmp_path).series == {'loss': {2: 2.0}}


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_resumed_run_replaces_what_came_after_its_checkpoint(tmp_path: Path, by_epoch: bool) -> None:
    """The third start resumes from iteration 500, or epoch 5, with longer intervals; the second has logged nothing."""
    of_validation = 100 if by_epoch else 1
    for number, loss, steps, config in (
        (1, 1.0, range(100, 1000, 100), 'resume = False\n'),
        (2, 2.0, (), 'resume = True\nresumed_step = 300\n'),
        (3, 3.0, (750, 1000), f'resume = True\nresumed_step = 500\nresumed_validation_step = {500 // of_validation}\n'),
    ):
        lines = [{'loss': loss, 'iter': step, 'step': step} for step in steps]
        lines += [{'a/mIoU': loss, 'step': step // of_validation} for step in steps if step in (300, 600, 900)]
        write_log(tmp_path, f'2026010{number}_000000', '\n'.join(map(json.dumps, lines)), config)
    (tmp_path / '20260102_000000/vis_data/scalars.json').unlink()
    first = dict.fromkeys((100, 200, 300, 400, 500), 1.0)
    assert read_run(tmp_path).series == {'loss': {**first, 750: 3.0, 1000: 3.0}, 'a/mIoU': {300 // of_validation: 1.0}}


def test_a_log_without_a_config_belongs_to_the_run_before(tmp_path: Path) -> None:
    for number in (1, 2):
        write_log(tmp_path, f'2026010{number}_000000', f'{{"loss": {number}, "step": {10 - number}}}\n')
    assert [*read_run(tmp_path).series['loss'].items()] == [(8, 2.0), (9, 1.0)]


def test_times_are_those_of_training_and_steps_are_whole_numbers(tmp_path: Path) -> None:
    lines = [
        {'loss': 1.0, 'time': 0.5, 'flag': True, 'iter': 2, 'step': 2},
        {'semseg/mIoU': 35.0, 'time': 0.1, 'data_time': 0.1, 'step': 2},
        {'loss': 9.0},
    ]
    write_log(tmp_path, '20260101_000000', '\n'.join(map(json.dumps, lines)))
    assert read_run(tmp_path).series == {'loss': {2: 1.0}, 'time': {2: 0.5}, 'semseg/mIoU': {2: 35.0}}


def test_a_test_after_the_clock_went_back_is_not_outdated(tmp_path: Path) -> None:
    folder = write_run(tmp_path / 'run')
    config = folder / '20251231_235900' / 'vis_data' / 'config.py'
    config.parent.mkdir(parents=True)
    config.write_text('')
    assert 'metrics' in read_run(folder).missing
    config.write_text("started = '2026-01-01T00:30:00.000+00:00'")
    run = read_run(folder)
    assert 'metrics' not in run.missing and 'seed = 0' in run.config, 'that of the training'


def test_a_log_may_be_in_another_encoding(tmp_path: Path) -> None:
    folder = write_run(tmp_path / 'run')
    (log,) = folder.glob('*/*.log')
    log.write_bytes(log.read_bytes() + 'Straße'.encode('latin-1'))
    assert 'sys.platform: linux' in read_run(folder).environment


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match='nowhere'):
        commands.main(['report', str(tmp_path / 'nowhere')])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'empty: .*metrics\.json'):
        read_run(tmp_path / 'empty')
    folder = write_run(tmp_path / 'elsewhere')
    index = folder / 'samples' / 'samples.json'
    whole = index.read_text()
    index.write_text(whole.replace('depth_worst_1.jpg', '../metrics.jpg'))
    with pytest.raises(ValueError, match=r"samples\.json: .*'\.\./metrics\.jpg'"):
        read_run(folder)
    index.write_text(whole)
    (folder / 'samples' / 'depth_worst_1.jpg').write_text('no picture')
    with pytest.raises(ValueError, match=r'depth_worst_1\.jpg: not a JPEG'):
        read_run(folder)
    log = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    (folder / 'samples' / 'samples.json').unlink()
    log.write_text('{"loss"\n{"loss": 1, "step": 1}\n')
    with pytest.raises(ValueError, match=r'scalars\.json: line 1'):
        read_run(folder)


@pytest.mark.parametrize(
    'matrix',
    [
        {'wall': {'wall': 3, 'floor': 1}, 'floor': {'wall': 0}},
        {'wall': {'wall': 3, 'floor': 1}, 'floor': {'floor': 1, 'wall': 0}},
        {'wall': {'wall': 3, 'floor': 1}, 'door': {'wall': 0, 'floor': 1}},
        {'wall': {'wall': -1}},
        {'wall': {'wall': 0.5}},
        {'wall': {'wall': True}},
        {'wall': {}},
        {'0': {str(number): 1 for number in range(257)}},
    ],
)
def test_a_confusion_that_is_no_matrix_of_counts_is_refused(tmp_path: Path, matrix: Any) -> None:
    (tmp_path / 'metrics.json').write_text(json.dumps({**METRICS, 'confusion': {'semseg': matrix}}))
    with pytest.raises(ValueError, match=r'metrics\.json: `confusion`'):
        read_run(tmp_path)


@pytest.mark.parametrize(
    'changes',
    [dict(picture='a.png'), dict(kind='middle'), dict(score=float('nan')), dict(score='2'), dict(more=1)],
)
def test_an_entry_that_is_no_sample_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    entry = dict(task='depth', kind='worst', title='room', score=2.0, metric='depth/abs_err', picture='a.jpg')
    folder = SampleFolder(tmp_path)
    folder.index.write_text(json.dumps([entry]))
    assert folder.read() == [Sample(**entry)]
    folder.index.write_text(json.dumps([entry | changes]))
    with pytest.raises(ValueError, match=r'samples\.json: '):
        folder.read()


def test_delta_m_names_what_it_compares_with() -> None:
    primary = {'primary': {'depth/abs_err': 'lower'}}
    one, two = Run('one', {'depth/abs_err': 0.5}, meta=primary), Run('two', {'depth/abs_err': 0.4})
    assert gain_row([one], None) == gain_row([one, Run('three')], None) == (None, NO_BASELINE)
    row, text = gain_row([one, two, Run('three')], None)
    assert text == 'Δm: the relative gain over one in percent, the mean over depth/abs_err.'
    assert row is not None and row.cells == ('+0.00', '+20.00', '–')
    row, text = gain_row([two, one], Baseline('paper', {'depth/abs_err': 1.0}))
    assert (
        'over paper in' in text and row is not None and row.cells == ('+60.00', '+50.00') and row.best == (True, False)
    )
    one.metrics['delta_m'] = 3.0
    one.meta['delta_m'] = {'baseline': 'single', 'metrics': {'depth/abs_err': 'lower'}}
    row, text = gain_row([one], None)
    assert (
        'over single in percent, the mean over depth/abs_err.' in text and row is not None and row.cells == ('+3.00',)
    )
    assert [row.name for row in metric_rows([one])] == ['depth/abs_err ↓']
    row, text = gain_row([one], Baseline('paper', {'depth/abs_err': 1.0}))
    assert 'over paper in' in text and row is not None and row.cells == ('+50.00',)
    other = Run('other', {'depth/abs_err': 0.4, 'delta_m': 5.0}, meta={'delta_m': {'baseline': 'another'}})
    for second in (two, other):
        row, text = gain_row([one, second], None)
        assert 'over one in' in text and row is not None and row.cells == ('+0.00', '+20.00')


def test_a_metric_goes_the_way_that_its_test_says() -> None:
    """`mean` of normals is better if lower; `f1` is of a task that the reader does not know."""
    meta = {
        'primary': {'own/mean': 'higher'},
        'better': {'own/mean': 'higher', 'own/f1': 'higher', 'normals/mean': 'lower'},
    }
    one, two = (
        Run(
            name,
            {'own/mean': value, 'own/f1': 1 - value, 'normals/mean': value, 'per_image/own/f1': value, 'x/y': 1.0},
            meta=meta,
        )
        for name, value in (('one', 0.7), ('two', 0.4))
    )
    rows = {row.name: row.best for row in metric_rows([one, two])}
    first, second = (True, False), (False, True)
    assert rows == {
        'own/mean ↑': first,
        'own/f1 ↑': second,
        'normals/mean ↓': second,
        'per_image/own/f1 ↑': first,
        'x/y': (False, False),
    }


def test_samples_of_an_earlier_test_are_replaced(tmp_path: Path) -> None:
    folder, red = SampleFolder(tmp_path), np.full((8, 8, 3), (200, 30, 30), np.uint8)
    for name in ('depth_best_1.jpg', 'depth_worst_1.jpg'):
        folder.write([(Sample('depth', 'best', 'room', 2.0, 'depth/abs_err', name), red)])
    assert {path.name for path in tmp_path.iterdir()} == {'depth_worst_1.jpg', 'samples.json'}
    assert np.abs(read_image(tmp_path / 'depth_worst_1.jpg')[..., ::-1].astype(int) - red).max() < 5


def test_a_sample_of_an_unknown_task_has_the_arrow_of_its_test(tmp_path: Path) -> None:
    sample = Sample('own', 'worst', 'frame 3', 0.25, 'own/f1', 'own_worst_1.jpg')
    write_report(tmp_path / 'x.html', [Run('one', meta={'better': {'own/f1': 'higher'}}, samples=[(sample, '')])])
    assert 'frame 3: own/f1 ↑ 0.25' in Page(tmp_path / 'x.html').text['samples']


def test_registered_tasks_that_disagree_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert direction('normals/mean') is False
    other = type('Other', (), {'higher_is_better': {'mean': True}, 'temporal_metrics': {}})
    monkeypatch.setitem(TASKS.module_dict, 'Other', other)
    assert direction('normals/mean') is None and direction('normals/mean', {'normals/mean': False}) is False
    assert direction('depth/rmse') is False


def test_a_kind_may_declare_its_metrics_in_init(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS.module_dict, 'Late', type('Late', (), {}))
    monkeypatch.setitem(TASKS.module_dict, 'Computed', type('Computed', (), {'higher_is_better': property(vars)}))
    assert direction('normals/mean') is False


def test_delta_m_is_left_out_where_it_would_not_mean_the_same() -> None:
    metrics = {'semseg/mIoU': 40.0, 'depth/abs_err': 0.5, 'depth/rmse': 1.0}
    primary = {'semseg/mIoU': 'higher', 'depth/abs_err': 'lower'}
    full = Run('full', metrics, meta={'primary': primary})
    part = Run('part', {'semseg/mIoU': 20.0}, meta={'primary': {'semseg/mIoU': 'higher'}})
    lacking = (None, 'Δm: the baseline, part, has no positive depth/abs_err')
    assert gain_row([part, full], None) == gain_row([full], Baseline('part', part.metrics)) == lacking
    other = Run('other', metrics, meta={'primary': {'semseg/mIoU': 'higher', 'depth/rmse': 'lower'}})
    assert gain_row([full, other], None) == (None, 'Δm: the runs do not agree on the primary metric of depth')
    row, _ = gain_row([full, part], None)
    assert row is None
    row, _ = gain_row([full, full, part], None)
    assert row is not None and row.cells == ('+0.00', '+0.00', '–')


def test_classes_are_compared_of_the_runs_that_have_them(tmp_path: Path) -> None:
    one = Run('one', {'a/mIoU': 60.0}, class_scores={'a': {'wall': 70.0, 'sofa': 50.0}, 'b': {'sky': 90.0}})
    two = Run('two', {'a/mIoU': 40.0}, class_scores={'a': {'wall': 40.0}})
    found = class_rows([one, Run('none', {'a/mIoU': 10.0}), two])
    assert {task: names for task, (names, _) in found.items()} == {'a': ['one', 'two'], 'b': ['one']}
    assert [row.cells for row in found['a'][1]] == [('70', '40'), ('50', '–')]
    write_report(tmp_path / 'x.html', [one, Run('none', {'a/mIoU': 10.0}), two])
    page = (tmp_path / 'x.html').read_text(encoding='utf-8')
    classes = page[page.index('id="classes"') :].partition('</section>')[0]
    assert [part.count('<th scope="col">') for part in classes.split('<h3>')[1:]] == [3, 2]
    assert re.findall(r'Runs without these scores: (.*)\.<', classes) == ['none', 'none, two']


def test_a_report_needs_runs_of_different_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='NAME=FOLDER'):
        write_report(tmp_path / 'x.html', [Run('a'), Run('a')])
    with pytest.raises(SystemExit, match=r'report\.txt'):
        commands.main(['report', 'a', '--out', 'report.txt'])


def test_a_video_becomes_part_of_the_page(tmp_path: Path) -> None:
    (tmp_path / 'v.mp4').write_bytes(b'frames')
    write_report(tmp_path / 'x.html', [Run('a & b', {'x/y': 1.0})], notes=['1 < 2'], video=tmp_path / 'v.mp4')
    found = Page(tmp_path / 'x.html')
    (source,) = (attributes['src'] for tag, attributes in found.tags if tag == 'video')
    assert source == f'data:video/mp4;base64,{base64.b64encode(b"frames").decode()}'
    assert '1 < 2' in found.text[''] and 'a & b' in found.text['']


def test_legends_name_only_runs_with_a_curve(tmp_path: Path) -> None:
    for name in ('video', 'image', 'bare'):
        write_run(tmp_path / name)
    for name in ('image', 'bare'):
        metrics = {key: value for key, value in METRICS.items() if not key.startswith('offset_')}
        (tmp_path / name / 'metrics.json').write_text(json.dumps(metrics))
    for path in (tmp_path / 'bare').glob('*/vis_data/scalars.json'):
        path.unlink()
    write_report(tmp_path / 'report.html', [read_run(tmp_path / name) for name in ('video', 'image', 'bare')])
    sections = (tmp_path / 'report.html').read_text().split('<section id="')
    legends = {
        section.partition('"')[0]: re.findall(r'━.━</span> (\w+)</li>', section)
        for section in sections
        if '━' in section
    }
    logged = ['video', 'image']
    assert legends['offsets'] == ['video']
    assert legends['cost'] == ['video', 'image', 'bare']
    assert legends['training'] == 2 * logged
    assert legends['gradients'] == logged
