"""Checkpoint files that are damaged, not finite, or stand for more than they hold."""

from __future__ import annotations

import io
import pickle
import time
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mmmtl.io.checkpoints as checkpoints
from mmmtl.checkpoint import load_weights
from mmmtl.io.checkpoint_archive import check_archive
from mmmtl.io.checkpoints import check_values, load_from_local, load_plain


def save(path: Path, **more: Any) -> Path:
    torch.save({'state_dict': {'weight': torch.arange(4000.0), 'bias': torch.ones(3)}, **more}, path)
    return path


def rewritten(source: Path, target: Path, *, compression: int = zipfile.ZIP_STORED, **changed: bytes) -> Path:
    """Copy an archive, with other contents for some records and another compression."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w', compression) as new:
        for record in old.infolist():
            name = record.filename.partition('/')[2]
            new.writestr(
                f'{target.stem}/{name}', changed.get(name.replace('/', '_').replace('.', '_'), old.read(record))
            )
    return target


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / 'iter_8.pth')
    whole = path.read_bytes()
    save(tmp_path / 'iter_4.pth')
    rng = np.random.default_rng(0)
    start = whole.index(torch.arange(4000.0).numpy().tobytes())
    for place in [start, start + 15_999, *rng.integers(0, len(whole), 200)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            loaded = load_from_local(path)
        except ValueError as error:
            assert str(error).startswith(str(path)) and 'iter_4.pth' in str(error)
            assert not start <= place < start + 16_000 or 'damaged' in str(error)
        else:  # in the padding between records, or in a field that nothing reads
            assert not start <= place < start + 16_000
            assert torch.equal(loaded['state_dict']['weight'], torch.arange(4000.0))


@pytest.mark.parametrize('keep', [0.0, 0.5, 0.99])
def test_a_cut_file_names_the_whole_one_beside_it(tmp_path: Path, keep: float) -> None:
    for number in (4, 10, 12, 20):
        save(tmp_path / f'iter_{number}.pth')
    for number in (12, 20):
        path = tmp_path / f'iter_{number}.pth'
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])

    with pytest.raises(ValueError, match=r'iter_20\.pth: .*truncated.*beside it is .*iter_10\.pth\.$'):
        load_from_local(tmp_path / 'iter_20.pth')


def test_a_buffer_is_checked_and_read_from_its_beginning(tmp_path: Path) -> None:
    whole = save(tmp_path / 'a.pth').read_bytes()
    assert load_plain(io.BytesIO(whole))['state_dict']['bias'].tolist() == [1, 1, 1]
    place = whole.index(torch.arange(4000.0).numpy().tobytes())
    with pytest.raises(ValueError, match='damaged'):
        load_plain(io.BytesIO(whole[:place] + b'\1' + whole[place + 1 :]))


def test_a_file_of_the_old_format_is_read(tmp_path: Path) -> None:
    torch.save({'weight': torch.ones(2)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)

    assert load_from_local(tmp_path / 'old.pth')['weight'].tolist() == [1, 1]


# Bombs


def test_a_compressed_record_is_refused(tmp_path: Path) -> None:
    torch.save({'weight': torch.zeros(2**20)}, tmp_path / 'zeros.pth')
    bomb = rewritten(tmp_path / 'zeros.pth', tmp_path / 'bomb.pth', compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**14

    with pytest.raises(ValueError, match=r'bomb\.pth: refused because its record .* is compressed'):
        load_from_local(bomb)


def test_records_that_overlap_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / 'a.pth')
    with zipfile.ZipFile(path, 'a') as archive:
        archive.infolist().append(archive.infolist()[0])
        archive.writestr('a/more', b'')

    with pytest.raises(ValueError, match=r'a\.pth: '):
        check_archive(path, str(path))


def folded(levels: int, width: int) -> list[Any]:
    value: list[Any] = [0]
    for _ in range(levels):
        value = [value] * width
    return value


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ('value', 'words'),
    [(folded(12, 30), r'stand for 1\.08e\+18 values'), (deep(60), 'nested 63 deep')],
)
def test_lists_in_lists_are_bounded(tmp_path: Path, value: Any, words: str) -> None:
    path = save(tmp_path / 'nested.pth', meta={'dataset_meta': value})
    start = time.perf_counter()
    with pytest.raises(ValueError, match=rf'nested\.pth: refused.*{words}'):
        load_from_local(path)
    assert time.perf_counter() - start < 5


def test_a_pickle_nested_a_hundred_thousand_times_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / 'a.pth')
    contents = pickle.PROTO + b'\x02}X\x04\x00\x00\x00meta' + b']' * 100_000 + b'a' * 99_999 + b's.'
    deep_file = rewritten(path, tmp_path / 'deep.pth', data_pkl=contents)
    with pytest.raises(ValueError, match=r'deep\.pth: refused.*nested'):
        load_from_local(deep_file)


@pytest.mark.parametrize(
    'call',
    ['builtins.bytearray', '__builtin__.bytearray', 'torch.FloatTensor', 'torch.Tensor', 'copy_reg._reconstructor'],
)
@pytest.mark.parametrize('record', ['data.pkl', 'DATA.PKL', 'old'])
def test_a_pickle_calls_only_what_tensors_need(tmp_path: Path, call: str, record: str) -> None:
    module, name = call.split('.')
    contents = b'\x80\x02}X\x01\x00\x00\x00ac%b\n%b\n\x8a\x04\x00\x00\x00\x10\x85Rs.' % (module.encode(), name.encode())
    bomb = tmp_path / 'bomb.pth'
    if record == 'old':
        torch.save({}, bomb, _use_new_zipfile_serialization=False)
        bomb.write_bytes(bomb.read_bytes().replace(b'\x80\x02}q\x00.', contents))
    else:
        # torch finds the record in either case.
        whole = rewritten(save(tmp_path / 'a.pth'), bomb, data_pkl=contents).read_bytes()
        bomb.write_bytes(whole.replace(b'data.pkl', record.encode()))
    with pytest.raises(ValueError, match=rf'bomb\.pth: refused .*{call}'):
        load_from_local(bomb)


def test_tensors_of_all_types_and_plain_values_are_read(tmp_path: Path) -> None:
    types = sorted({str(value) for value in vars(torch).values() if isinstance(value, torch.dtype)})
    dtypes = [getattr(torch, name.removeprefix('torch.')) for name in types]
    values = {str(dtype): torch.zeros(2).to(dtype) for dtype in dtypes if castable(dtype)}
    plain = {'set': {1}, 'complex': 1j, 'bytes': b'\xff', 'size': torch.Size([1]), 'counter': Counter('ab')}
    others = {
        'quantized': torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        'channels': torch.quantize_per_channel(torch.ones(2), torch.ones(2), torch.zeros(2), 0, torch.quint8),
        'sparse': torch.eye(2).to_sparse(),
        'parameter': torch.nn.Parameter(torch.ones(1)),
    }
    torch.save(values | plain | others, tmp_path / 'all.pth')
    loaded = load_from_local(tmp_path / 'all.pth')

    assert len(values) > 15 and {key: loaded[key] for key in plain} == plain
    assert all(loaded[key].dtype == value.dtype for key, value in (values | others).items())


def castable(dtype: torch.dtype) -> bool:
    try:
        torch.zeros(2).to(dtype)
    except (RuntimeError, NotImplementedError, TypeError):
        return False
    return True


@pytest.mark.parametrize('about', [{'': {'version': 1, 'assign_to_params_buffers': True}}, {'': {'version': '1'}}, 5])
def test_a_checkpoint_does_not_say_how_it_is_loaded(tmp_path: Path, about: Any) -> None:
    state = OrderedDict(weight=torch.ones(1, 1, dtype=torch.float64).expand(2, 2), bias=torch.ones(2))
    state._metadata = about  # type: ignore[attr-defined]
    torch.save({'state_dict': state}, tmp_path / 'a.pth')
    model = torch.nn.Linear(2, 2)
    load_weights(model, load_from_local(tmp_path / 'a.pth'), tasks={})

    assert model.weight.dtype == torch.float32 and model.weight.is_contiguous() and bool((model.weight == 1).all())


@pytest.mark.parametrize(
    ('path', 'values'),
    [
        ('state_dict', [5, [1]]),
        ('ema_state_dict', [[1], {3: 1}]),
        ('param_schedulers', [1, [2], {'a': 3}, {'a': [3]}]),
        ('meta', [[1], 'x']),
        ('meta.dataset_meta', ['x']),
        ('meta.dataset_meta.tasks', [['depth'], {3: {}}]),
        ('meta.task_order', ['depth', [3]]),
        ('meta.epoch', [-1, 1.0, True, 10**10, None]),
        ('meta.iter', ['4', 10**15]),
        ('meta.seed', ['0', -1, 2**40, True]),
        ('meta.batches_of_epoch', [5, [1], [-1, 4], [5, 4], ['1', 4], None]),
        ('meta.trained_with', [[1], {3: 1}]),
        ('message_hub', [[]]),
        ('message_hub.log_scalars', [[1]]),
        ('message_hub.log_scalars.loss', [5, [[1.0]], [[1.0], [1, 2], 10], [['a'], [1], 10], [[[1]], [1], 10]]),
        ('message_hub.resumed_keys', [3]),
        ('message_hub.runtime_info', [[1], None]),
        ('message_hub.runtime_info.best_ckpt', [5, '/home', 'best_a.pth/..']),
        ('message_hub.runtime_info.best_ckpt_depth', [5]),
        ('message_hub.runtime_info.keep_ckpt_ids', [['../precious'], 4, {'a': 1}, [True]]),
        ('message_hub.runtime_info.replaced_ckpts', ['best_a.pth', ['iter_3.pth'], ['../best_a.pth']]),
    ],
)
def test_a_part_of_another_shape_is_named(tmp_path: Path, path: str, values: list[Any]) -> None:
    for value in values:
        contents: Any = value
        for key in reversed(path.split('.')):
            contents = {key: contents}
        torch.save(contents, tmp_path / 'a.pth')
        with pytest.raises(ValueError, match=rf"a\.pth: the checkpoint's {path} must be "):
            load_from_local(tmp_path / 'a.pth')


def test_a_list_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append({'again': (value,)})
    with pytest.raises(ValueError, match='contains itself'):
        check_values({'meta': value}, 'x.pth', size=100, described=100)


def test_long_logs_are_within_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, 'FEW_VALUES', 0)
    logs = {f'train/{i}': [[float(i)] * 3000, [1] * 3000, 10] for i in range(20)}
    path = save(tmp_path / 'logs.pth', message_hub=logs, meta={'one': logs, 'two': {'task': {}}})

    assert load_from_local(path)['message_hub'] == logs


# Weights that are not finite


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('part', ['state_dict', 'ema_state_dict', None])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, value: float, part: str | None) -> None:
    weights = {'conv.weight': torch.tensor([1.0, value]), 'steps': torch.tensor(3)}
    contents = {'state_dict': {'a': torch.ones(1)}, part: weights} if part else weights
    torch.save(contents, tmp_path / 'bad.pth')

    with pytest.raises(ValueError, match=r'bad\.pth: 1 weights are not finite \(conv\.weight\)'):
        load_from_local(tmp_path / 'bad.pth')


def test_a_tensor_may_be_expanded_but_not_beyond_its_storage(tmp_path: Path) -> None:
    torch.save({'wide': torch.ones(1).expand(10**12)}, tmp_path / 'wide.pth')
    assert load_from_local(tmp_path / 'wide.pth')['wide'].shape == (10**12,)
    torch.save({'folded': torch.ones(2 * 10**5).as_strided((10**5, 10**5), (1, 1))}, tmp_path / 'folded.pth')
    with pytest.raises(ValueError, match=r'folded\.pth: .*folded'):
        load_from_local(tmp_path / 'folded.pth')
