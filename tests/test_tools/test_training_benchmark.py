"""benchmarks/training.py: its tables, what identifies a run, and the order of the queue."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmmtl.config import input_size
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.registry import MODELS

from .conftest import BENCHMARKS

# Tables.


def parameters(training: Any, table: Any, row: Any) -> int:
    """Return the number of parameters that the forward pass of a row's model uses."""
    cfg = training.runs.Settings(table, table.iterations).config(row)
    found: int = count_cost(build_on_meta(cfg), input_size(cfg)).to_dict()['params']
    return found


@pytest.mark.slow
def test_every_row_predicts(training: Any) -> None:
    for table in training.tables.ALL_TABLES:
        for row in (*table.rows, *table.pretraining):
            assert parameters(training, table, row) > 100_000, row.name


def test_rows_with_a_network_for_every_task_predict(training: Any) -> None:
    table = training.tables.TABLES['video-tiny']
    slow, mtan, stitched = (
        parameters(training, table, table.row(name)) for name in ('slow only', 'MTAN', 'cross-stitch')
    )
    assert slow < mtan < 1.5 * slow < 2 * slow < stitched


def test_every_row_stands_for_something(training: Any) -> None:
    checked = 0
    for table in training.tables.ALL_TABLES:
        trained = [row.name for row in (*table.rows, *table.pretraining)]
        names = [row.name for row in table.rows]
        assert len(set(trained)) == len(trained)
        assert table.reference in names
        for row in table.rows:
            assert training.papers.stands_for(table, row.name)
            assert row.teacher is None or row.teacher in names
            assert {*row.start.values()} <= {*trained}
            checked += 1
    assert checked > 90


def test_papers_name_rows_that_exist(training: Any) -> None:
    for table in (training.tables.TABLES['video-tiny'], training.tables.TABLES['image-tiny']):
        names = {row.name for row in table.rows}
        papers = training.papers.PAPERS[table.paper]
        assert [paper.number for paper in papers] == list(range(1, len(papers) + 1))
        for paper in papers:
            assert {run for runs in paper.runs.values() for run in runs} <= names
            assert set(paper.runs) <= set(paper.values)
            assert {row for pair in paper.orders for row in pair} <= set(paper.runs)
            assert all(len(values) == len(paper.columns) for values in paper.values.values())
            assert bool(paper.values) == bool(paper.orders)
            assert paper.values or paper.note


def test_tiny_decoders_are_narrow(training: Any) -> None:
    table = training.tables.TABLES['image-tiny']
    settings = training.runs.Settings(table, 300)
    cfg = settings.config(table.row('SCA, 3 tasks'))
    assert max(cfg.model.backbone.channels) * 2 <= 64  # self-attention doubles them
    sizes = [t.size for t in cfg.train_dataloader.dataset.pipeline if t.type == 'Resize']
    assert sizes == [(144, 192)]


# Runs.


def test_a_run_is_known_by_what_its_scores_depend_on(training: Any) -> None:
    table = training.tables.TABLES['video-tiny']
    mila, fast = table.row('MILA'), table.row('fast only')

    def digest(iterations: int = 30, row: Any = fast, **options: Any) -> str:
        changes = {key.replace('__', '.'): value for key, value in options.items()}
        return training.runs.Settings(table, iterations, changes).digest(row)

    same = digest()
    assert re.fullmatch('[0-9a-f]{12}', same)
    assert same == digest() == digest(train_dataloader__num_workers=3) == digest(log_interval=1)
    different = [
        digest(31),
        digest(row=mila),
        digest(train_dataloader__batch_size=4),
        digest(tasks__depth__loss_weight=2.0),
        digest(custom_hooks=[]),
        digest(val_dataloader__dataset__num_videos=1),
    ]
    assert len({same, *different}) == 1 + len(different)
    # Its initial weights are those of the reference, in the parts that it shares.
    other = training.runs.Settings(replace(table, reference='slow only'), 30)
    assert len({same, other.digest(fast), digest(row=replace(fast, shares={}))}) == 3


def test_a_third_of_the_training_lies_between_two_validations(training: Any) -> None:
    table = training.tables.TABLES['video-tiny']
    for iterations in (3000, 100, 2, 1):
        cfg = training.runs.Settings(table, iterations).config(table.row('MILA'))
        assert cfg.train_cfg.max_iters == iterations
        assert 3 * cfg.train_cfg.val_interval >= iterations > 3 * (cfg.train_cfg.val_interval - 1)
        assert cfg.checkpoint_interval <= min(100, cfg.train_cfg.val_interval)


@pytest.mark.parametrize('option', ['load_from', 'randomness.seed', 'train_cfg.max_iters', 'checkpoint_interval'])
def test_an_option_of_what_a_run_decides_is_refused(training: Any, option: str) -> None:
    with pytest.raises(ValueError, match=rf"\['{option}'\]: decided by row, seed and iterations"):
        training.runs.Settings(training.tables.TABLES['video-tiny'], 30, {option: 1})


def test_an_option_for_what_the_config_lacks_is_refused(training: Any) -> None:
    table = training.tables.TABLES['video-tiny']
    with pytest.raises(ValueError, match=r'model\.nek\.window'):
        training.runs.Settings(table, 30, {'model.nek.window': 3}).config(table.row('MILA'))


def test_results_add_up_and_the_same_run_is_replaced(training: Any, tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'results.json'
    first = dict(row='a', seed=0, iterations=3, config='x', scores={'3': {}})
    for record in (first, {**first, 'seed': 1}, {**first, 'config': 'y'}, {**first, 'scores': {'2': {}}}):
        training.runs.add_record(path, record)
    records = training.runs.read_records(path)
    assert [(r['seed'], r['config'], list(r['scores'])) for r in records] == [
        (1, 'x', ['3']), (0, 'y', ['3']), (0, 'x', ['2'])
    ]  # fmt: skip
    identity = dict(row='a', seed=0, iterations=3, config='x')
    assert training.runs.find_record(records, identity) == records[2]
    assert training.runs.find_record(records, {**identity, 'iterations': 4}) is None
    with pytest.raises(ValueError, match='not JSON compliant'):
        training.runs.add_record(path, {**first, 'scores': {'3': {'depth/rmse': math.nan}}})
    assert training.runs.read_records(path) == records


def test_finished_seeds_are_those_of_the_same_settings(training: Any) -> None:
    table = training.tables.TABLES['video-tiny']
    row = table.row('fast only')
    settings, longer = training.runs.Settings(table, 30), training.runs.Settings(table, 60)
    identities = [settings.identity(row, 4), settings.identity(row, 1), longer.identity(row, 0)]
    records = [identity | dict(scores={}) for identity in (*identities, settings.identity(table.row('slow only'), 2))]
    assert training.runs.finished_seeds(records, settings, row) == [1, 4]
    assert training.runs.finished_seeds([], settings, row) == []


@pytest.mark.parametrize('text', ['[{}]', '{}', '[', '[{"row": "a", "seed": 0}]'])
def test_a_file_that_is_no_list_of_results_is_named(training: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / 'results.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        training.runs.read_records(path)


def test_rows_with_commas_in_their_names(training: Any) -> None:
    names = ['slow only', 'slow only, depth', 'ILA', 'ILA, L1 only']
    assert training.main.split_rows('ILA, slow only, depth,slow only', names) == [
        'ILA',
        'slow only, depth',
        'slow only',
    ]
    with pytest.raises(SystemExit, match='MULA'):
        training.main.split_rows('ILA, MULA', names)


def test_a_student_waits_for_its_teacher(training: Any, tmp_path: Path) -> None:
    table = training.tables.TABLES['image-tiny']
    settings = training.runs.Settings(table, 3)
    student, other = (
        training.runs.Run(settings, table.row(name), 0, tmp_path) for name in ('SCA student', 'single-task, depth')
    )
    (teacher,) = student.requires
    assert teacher.row.name == 'SCA, 2 tasks'
    assert student.config().model.teacher.checkpoint == str(teacher.checkpoint)
    queue = training.queue.needed([student, other], [])
    assert [run.row.name for run in queue] == ['SCA, 2 tasks', 'SCA student', 'single-task, depth']
    records = [other.identity, teacher.identity]
    assert training.queue.needed([student, other], records) == [teacher, student]  # its model is elsewhere
    teacher.checkpoint.parent.mkdir(parents=True)
    teacher.checkpoint.touch()
    assert training.queue.needed([student, other], records) == [student]
    busy = [SimpleNamespace(run=teacher)]
    assert training.queue.next_ready([student, other], busy) == other
    assert training.queue.next_ready([student, other], []) == student
    assert training.queue.next_ready([student, teacher], []) == teacher


def test_networks_start_from_the_pretraining_of_their_seed(training: Any, tmp_path: Path) -> None:
    table = training.tables.TABLES['video-tiny']
    settings = training.runs.Settings(table, 3)
    mila, stitched = (training.runs.Run(settings, table.row(name), 1, tmp_path) for name in ('MILA', 'cross-stitch'))
    slow, fast = mila.requires
    assert stitched.requires == (slow, fast)  # the fast one for the reference
    assert (slow.requires, slow.seed, slow.config().train_dataloader.dataset.split) == ((), 1, 'test')
    assert training.queue.needed([stitched, mila], []) == [slow, fast, stitched, mila]
    for run in (slow, fast):
        model = MODELS.build(run.config().model)
        run.checkpoint.parent.mkdir(parents=True)
        torch.save({'state_dict': model.state_dict()}, run.checkpoint)
    assert training.queue.needed([mila], []) == [mila]

    name = 'layer4.1.conv2.weight'
    trained = torch.load(slow.checkpoint, weights_only=True)['state_dict'][f'backbone.backbone.{name}']
    for run, prefixes in ((mila, ['']), (stitched, [f'networks.{task}.' for task in ('semseg', 'depth', 'normals')])):
        weights = first_weights(training, run)
        assert all(torch.equal(weights[f'backbone.{prefix}backbone.{name}'], trained) for prefix in prefixes)


def first_weights(training: Any, run: Any, *, done: int = 0) -> dict[str, torch.Tensor]:
    """Return the weights with which the training of a run begins, or goes on after some iterations."""
    torch.manual_seed(0)
    model = MODELS.build(run.config().model)
    model.init_weights()
    hook = training.worker.PairedWeights(run)
    hook.before_train(SimpleNamespace(iter=done, model=model, logger=SimpleNamespace(info=print)))
    weights: dict[str, torch.Tensor] = model.state_dict()
    return weights


def test_all_weights_but_those_of_a_start_are_the_references(training: Any, tmp_path: Path) -> None:
    table = training.tables.TABLES['video-tiny-scratch']
    settings = training.runs.Settings(table, 3)
    mila, slow, started = (
        training.runs.Run(settings, table.row(name), 1, tmp_path)
        for name in ('MILA', 'slow only', 'ILA without alignment, slow network pre-trained')
    )
    trained = MODELS.build(slow.config().model).state_dict()
    slow.checkpoint.parent.mkdir(parents=True)
    torch.save({'state_dict': trained}, slow.checkpoint)
    reference, weights = first_weights(training, mila), first_weights(training, started)
    for name, value in weights.items():
        start = name.startswith('backbone.backbone.')
        if not name.startswith(('neck.', 'decode_head.')):  # of other shapes than MILA's
            assert torch.equal(value, (trained if start else reference)[name]), name
    name = 'backbone.backbone.layer1.0.conv1.weight'
    assert not torch.equal(trained[name], reference[name])
    other_seed = first_weights(training, replace(mila, seed=2))
    assert not torch.equal(other_seed[name], reference[name])


def test_weights_of_a_checkpoint_and_of_pretraining_stay(training: Any, tmp_path: Path) -> None:
    scratch, table = (training.tables.TABLES[name] for name in ('video-tiny-scratch', 'video-tiny'))
    slow = training.runs.Run(training.runs.Settings(scratch, 3), scratch.row('slow only'), 1, tmp_path)
    pretraining = training.runs.Run(training.runs.Settings(table, 3), table.pretraining[0], 1, tmp_path)
    name = 'backbone.backbone.layer1.0.conv1.weight'
    own, reference = first_weights(training, slow, done=1)[name], first_weights(training, slow)[name]
    assert torch.equal(first_weights(training, pretraining)[name], own)
    assert not torch.equal(reference, own)


def test_a_run_is_known_by_the_pretraining_of_its_networks(training: Any) -> None:
    table = training.tables.TABLES['video-tiny']
    slow, *others = table.pretraining
    other = replace(table, pretraining=(slow.changed(slow.name, {'model.neck.reduction': None}), *others))
    digests = [training.runs.Settings(one, 30).digest(one.row('slow only')) for one in (table, other)]
    assert digests[0] != digests[1]


def test_progress_counts_what_an_earlier_call_has_done(training: Any, tmp_path: Path) -> None:
    log = tmp_path / 'output.log'
    log.write_text('resumed epoch: 0, iter: 40\n')
    with log.open() as file, log.open('a') as writer:
        job = training.queue.Job(None, None, file)
        job.look()
        assert (job.done, job.skipped) == (40, 40)
        writer.write('Iter(train) [ 60/300]  lr: 1\nIter(val) [9/9]\nIter(train) [ 80/300]\n')
        writer.flush()
        job.look()
        assert (job.done, job.skipped) == (80, 40)


def test_scores_are_read_in_the_order_of_training(training: Any, tmp_path: Path) -> None:
    for iteration in (200, 1000):
        content = {'depth/rmse': 1 / 3, 'offset_0/depth/abs_err': None, 'meta': {}}
        content |= {'offset_0/depth/rmse': 1.0, 'pooled/depth/rmse': 1.0}  # left out
        (tmp_path / f'scores_{iteration}.json').write_text(json.dumps(content))
    found = training.worker.read_scores(tmp_path)
    assert list(found) == ['200', '1000']
    assert all(scores == {'depth/rmse': 0.333333, 'offset_0/depth/abs_err': None} for scores in found.values())


def test_the_time_of_an_iteration_is_the_median(training: Any, tmp_path: Path) -> None:
    log = tmp_path / '20260101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(f'{{"time": {time}, "iter": {i}, "step": {i}}}\n' for i, time in enumerate((9, 1, 2), 1)))
    assert training.worker.iteration_time(tmp_path) == 2


def test_a_worker_goes_on_and_keeps_the_last_checkpoint(
    training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = training.tables.TABLES['video-tiny-scratch']
    run = training.runs.Run(training.runs.Settings(table, 3, {'log_interval': 1}), table.row('fast only'), 2, tmp_path)

    def build_runner(cfg: Any) -> Any:
        assert (cfg.resume, cfg.work_dir, cfg.randomness.seed) == (True, str(run.folder), 2)

        def train() -> None:
            (run.folder / '1/vis_data').mkdir(parents=True)
            (run.folder / '1/vis_data/scalars.json').write_text('{"time": 0.5, "iter": 3, "step": 3}')
            (run.folder / 'scores_3.json').write_text('{"depth/rmse": 1.0}')
            for number in (1, 2, 3):
                (run.folder / f'iter_{number}.pth').touch()

        return SimpleNamespace(register_hook=print, train=train)

    monkeypatch.setattr(training.worker, 'build_runner', build_runner)
    monkeypatch.setattr(training.worker, 'end_with_parent', lambda: None)
    monkeypatch.setattr(sys, 'argv', ['', table.name, 'fast only', '2', '3', str(tmp_path), '{"log_interval": 1}'])
    training.worker.main()
    assert [path.name for path in run.folder.glob('*.pth')] == ['iter_3.pth']
    result = json.loads(run.result.read_text())
    assert result.items() >= {**run.identity, 'seconds': 1.5, 'scores': {'3': {'depth/rmse': 1.0}}}.items()


# The queue, with a worker that trains nothing.

WORKER = """
import json, pathlib, re, sys, time
table, row, seed, iterations, work_dir, options = sys.argv[1:]
words = re.sub(r'[^\\w.]+', '-', row)
(folder,) = pathlib.Path(work_dir, table).glob(f'{words}_seed{seed}_{iterations}_*')
if json.loads(options)['log_interval'] == int(seed):
    sys.exit('out of memory')
time.sleep(60 * (row == 'single-task, normals'))  # until it is ended
identity = dict(row=row, seed=int(seed), iterations=int(iterations), config=folder.name.rpartition('_')[2])
(folder / f'iter_{iterations}.pth').touch()
(folder / 'result.json').write_text(json.dumps(dict(identity, scores={})))
"""


@pytest.fixture
def image_runs(training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function from a row and a seed to a run, of which those with seed 1 fail."""
    (tmp_path / 'benchmarks').mkdir()
    (tmp_path / 'benchmarks/training_worker.py').write_text(WORKER)
    monkeypatch.setattr(training.queue, 'ROOT', tmp_path)
    monkeypatch.setattr(training.queue, 'POLL', 0.01)
    table = training.tables.TABLES['image-tiny']
    settings = training.runs.Settings(table, 3, {'log_interval': 1})
    return lambda row, seed=0: training.runs.Run(settings, table.row(row), seed, tmp_path)


def test_a_queue_trains_what_is_missing(
    training: Any, image_runs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, calls = tmp_path / 'results.json', []
    student, teacher, depth = (image_runs(row) for row in ('SCA student', 'SCA, 2 tasks', 'single-task, depth'))
    depth.folder.mkdir(parents=True)
    depth.result.write_text(json.dumps({**depth.identity, 'scores': {}}))  # finished while nobody looked
    failing = image_runs('SCA student', seed=1)
    failing.requires[0].folder.mkdir(parents=True)
    failing.requires[0].result.write_text(json.dumps({**failing.requires[0].identity, 'scores': {}}))

    runs = [depth, student, failing]
    failed = training.queue.train_all(runs, path, jobs=2, threads=1, after_each=lambda: calls.append(1))
    assert failed == [failing.requires[0], failing]  # the checkpoint of its teacher is gone
    found = training.runs.read_records(path)
    names = [(record['row'], record['seed']) for record in found]
    adopted, trained = names[:2], names[2:]
    assert adopted == [('single-task, depth', 0), ('SCA, 2 tasks', 1)]
    assert trained == [('SCA, 2 tasks', 0), ('SCA student', 0)]
    assert len(calls) == 2 and 'out of memory' in capsys.readouterr().out
    assert teacher.checkpoint.exists()
    assert training.queue.train_all([student], path, jobs=1, threads=1, after_each=pytest.fail) == []


def test_an_interrupted_queue_ends_its_workers(training: Any, image_runs: Any, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    quick, slow = image_runs('single-task, depth'), image_runs('single-task, normals')
    path = tmp_path / 'results.json'
    with pytest.raises(KeyboardInterrupt):
        training.queue.train_all([quick, slow], path, jobs=2, threads=1, after_each=interrupt)
    assert [record['row'] for record in training.runs.read_records(path)] == ['single-task, depth']
    assert not slow.result.exists()


def test_make_reproduce_passes_its_variables_on() -> None:
    command = ['make', '--dry-run', 'reproduce', 'TABLE=image-tiny', 'SEEDS=3', 'ROWS=MILA, slow only', 'JOBS=1']
    done = subprocess.run(command, cwd=BENCHMARKS.parent, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if 'benchmarks/training.py' in line]
    assert line.split('training.py ')[1].strip() == "image-tiny --seeds 3 --jobs 1 --rows 'MILA, slow only'"
