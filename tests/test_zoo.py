"""Models by name: the zoo's entries, and their weights."""

from __future__ import annotations

import hashlib
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from mmmtl import zoo
from mmmtl.apis import MultiTaskInferencer, list_models, zoo_weights
from mmmtl.config import load_config
from mmmtl.io import write_safetensors

ROOT = Path(__file__).parents[1]
LIMIT = 12 * 2**20


def test_every_config_is_a_model_under_its_name() -> None:
    configs = {path.stem: path for path in (ROOT / 'configs').glob('*/*.py') if path.parent.name != '_base_'}
    assert len(configs) > 50
    assert {model.config.resolve() for model in zoo.models().values()} == {path.resolve() for path in configs.values()}
    assert set(configs) <= set(list_models())
    assert all(map(zoo.is_name, list_models()))
    assert all(model.data and model.method for model in zoo.models().values())


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name, model in zoo.models().items() if model.gmac is not None])
def test_costs_are_those_of_get_flops(name: str) -> None:
    macs, parameters = SimpleNamespace(**runpy.run_path(str(ROOT / 'tools/dev/model_costs.py'))).cost_of(name)
    assert (macs / 1e9, parameters / 1e6) == (zoo.models()[name].gmac, zoo.models()[name].parameters)


def test_weights_in_the_package_are_those_of_the_zoo_and_described() -> None:
    listed = [Path(model.weights.source) for model in zoo.models().values() if model.weights]
    inside = [path for path in listed if path.parent == zoo.WEIGHTS]
    assert sorted(inside) == sorted(zoo.WEIGHTS.glob('*.safetensors'))
    for path in inside:
        assert zoo_weights(path.stem) == path
        assert path.stat().st_size <= LIMIT
        assert path.with_suffix('.md').is_file() and path.with_suffix('.LICENSE.txt').is_file()


def test_a_config_is_loaded_by_its_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = 'mila_tiny-k5_1xb8-demo_synthetic-64x128'
    monkeypatch.chdir(tmp_path)
    assert load_config(name, tasks=['depth']).tasks == load_config(ROOT / f'configs/mila/{name}.py').tasks
    with pytest.raises(ValueError, match=f'mila_tiny.*{name}'):
        load_config('mila_tiny')
    with pytest.raises(ValueError, match='mila_r50-mbv2-k5_1xb4-2k_house-256x384'):
        load_config('mila_r5O-mbv2-k5_1xb4-2k_house-256x384')
    with pytest.raises(ValueError, match=f'configs/mila/{name}.py.*`{name}`'):
        load_config(f'configs/mila/{name}.py')


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A zoo with one model, `small`, whose weights are in half precision; yields their file."""
    config = ROOT / 'tests' / 'configs' / 'tiny_image.py'
    with pytest.warns(UserWarning, match='untrained'):
        model = MultiTaskInferencer(config, device='cpu').model
    path = tmp_path / 'weights' / 'small.safetensors'
    tasks = {name: dict(task) for name, task in load_config(config).tasks.items()}
    meta = dict(dataset_meta=dict(tasks=tasks), task_order=list(tasks))
    sha256 = write_safetensors(path, model.state_dict(), meta, dtype=torch.float16)
    entry = {'Name': 'small', 'In Collection': 'X', 'Config': str(config), 'Weights': 'small.safetensors'}
    entry |= {'SHA256': sha256, 'License': 'research only', 'Metadata': {'Training Data': 'noise', 'FLOPs': 2e9}}
    (tmp_path / 'metafile.yml').write_text(yaml.safe_dump({'Models': [entry]}))
    (tmp_path / 'model-index.yml').write_text('Import: [metafile.yml]')
    monkeypatch.setattr(zoo, 'WEIGHTS', path.parent)
    monkeypatch.setattr(zoo, 'home', lambda: tmp_path)
    cache = zoo.models
    cache.cache_clear()
    yield path
    cache.cache_clear()


@pytest.mark.filterwarnings('error:no checkpoint')
def test_a_named_model_comes_with_its_weights(weights: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    named = MultiTaskInferencer('small', device='cpu')
    given = MultiTaskInferencer(ROOT / 'tests' / 'configs' / 'tiny_image.py', weights, device='cpu')
    assert named.trained and list_models(weights=True) == ['small']
    assert all(value.dtype != torch.float16 for value in named.model.state_dict().values())
    for name, found in named(image).items():
        np.testing.assert_array_equal(found, given(image)[name])


def test_weights_that_are_others_are_refused_by_name(weights: Path) -> None:
    before = hashlib.sha256(weights.read_bytes()).hexdigest()
    contents = bytearray(weights.read_bytes())
    contents[-1] ^= 1
    weights.write_bytes(contents)
    after = hashlib.sha256(contents).hexdigest()
    with pytest.raises(ValueError, match=f'small.safetensors.*{after}.*{before}'):
        MultiTaskInferencer('small', device='cpu')
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r'small\.safetensors'):
        MultiTaskInferencer('small', device='cpu')


def test_weights_behind_a_url_are_loaded_once_and_checked(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    entry = zoo.find_model('small')
    assert entry.weights is not None and entry.gmac == 2
    url = 'http://127.0.0.1:9/small.safetensors'
    monkeypatch.setattr(zoo, 'models', lambda: {'small': entry._replace(weights=entry.weights._replace(source=url))})
    loads: list[str] = []

    def load(url: str, path: str, progress: bool) -> None:
        loads.append(url)
        Path(path).write_bytes(weights.read_bytes())

    monkeypatch.setattr('mmmtl.io.checkpoints.download_url_to_file', load)
    for _ in range(2):
        assert zoo_weights('small') == tmp_path / 'cache' / 'hub' / 'checkpoints' / 'small.safetensors'
    assert loads == [url]
    (tmp_path / 'cache' / 'hub' / 'checkpoints' / 'small.safetensors').write_bytes(b'other')
    with pytest.raises(ValueError, match=f'delete it.*{url}'):
        zoo_weights('small')


def test_two_models_of_one_name_are_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / 'model-index.yml').write_text('Import: [metafile.yml, metafile.yml]')
    zoo.models.cache_clear()
    with pytest.raises(ValueError, match=r"metafile\.yml: a second model of the name 'small'"):
        list_models()


def test_weights_need_a_hash_and_a_licence(weights: Path, tmp_path: Path) -> None:
    metafile = tmp_path / 'metafile.yml'
    metafile.write_text(metafile.read_text().replace('License:', 'Licence:'))
    zoo.models.cache_clear()
    with pytest.raises(ValueError, match=r'metafile\.yml: small.*License'):
        list_models()
