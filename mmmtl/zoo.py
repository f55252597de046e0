"""The model zoo: the configs that come with mmmtl by their names, and their weights; neither torch nor mmengine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import yaml

from mmmtl._suggestions import nearest

__all__: list[str] = []

PACKAGE = Path(__file__).parent

WEIGHTS = PACKAGE / 'weights'
"""The folder of the weights that come with the package."""


class Weights(NamedTuple):
    """Weights of a model of the zoo.

    Args:
        source: path or URL.
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        licence: licence under which they may be used.
    """

    source: str
    sha256: str
    licence: str

    @property
    def is_url(self) -> bool:
        """Return whether they must be downloaded."""
        return _is_url(self.source)


class Model(NamedTuple):
    """An entry of a `metafile.yml`.

    Args:
        name: name that `MultiTaskInferencer` and the command line take.
        config: the file.
        method: name of the collection.
        data: what it is trained on.
        scores: {data set: {metric: value}}; empty if none are recorded.
        gmac: billions of multiply-accumulates per image or frame, on average; None if not recorded.
        parameters: number in millions; None if not recorded.
        weights: None if there are none.
    """

    name: str
    config: Path
    method: str
    data: str
    scores: dict[str, dict[str, float]]
    gmac: float | None
    parameters: float | None
    weights: Weights | None


def home() -> Path:
    """Return the folder that holds `configs/`, `tools/` and `model-index.yml`: the repository, or `.mim` of a wheel."""
    for folder in (PACKAGE.parent, PACKAGE / '.mim'):
        if (folder / 'model-index.yml').is_file():
            return folder
    raise FileNotFoundError(f'{PACKAGE / ".mim"}: the configs of mmmtl are missing; install mmmtl again')


@cache
def models() -> Mapping[str, Model]:
    """Return every model of the zoo by its name, sorted.

    Raises:
        ValueError: an entry of a `metafile.yml` lacks something, or two have one name.
    """
    root = home()
    found: dict[str, Model] = {}
    for path in _read(root / 'model-index.yml')['Import']:
        for entry in _read(root / path)['Models']:
            model = _model(entry, root, path)
            if model.name in found:
                raise ValueError(f'{path}: a second model of the name {model.name!r}; rename one')
            found[model.name] = model
    return dict(sorted(found.items()))


def find_model(name: str) -> Model:
    """Return the model of a name.

    Raises:
        ValueError: no such model; the nearest names are listed, those with weights first.
    """
    if (model := models().get(name)) is not None:
        return model
    longer = [other for other in models() if name.lower() in other.lower()]
    longer.sort(key=lambda other: models()[other].weights is None)
    near = longer[:3] or nearest(name, models(), most=3, cutoff=0.5)
    hint = f'did you mean {" or ".join(near)}?' if near else '`mmmtl models` lists them'
    more = f' `mmmtl models {name}` lists all {len(longer)}' if len(longer) > len(near) else ''
    raise ValueError(f'{name}: neither a config file nor the name of a model; {hint}{more}')


def is_name(config: object) -> bool:
    """Return whether this can be the name of a model: text without a folder or a suffix."""
    return isinstance(config, str) and Path(config).name == config and not Path(config).suffix and bool(config)


def _model(entry: Mapping[str, Any], root: Path, path: str) -> Model:
    name = entry['Name']
    weights = None
    if (source := entry.get('Weights')) is not None:
        if missing := [key for key in ('SHA256', 'License') if not entry.get(key)]:
            raise ValueError(f'{path}: {name} has Weights, but no {" and no ".join(missing)}')
        weights = Weights(_source(source), str(entry['SHA256']).lower(), entry['License'])
    metadata = entry.get('Metadata') or {}
    data = metadata.get('Training Data', '')
    return Model(
        name=name,
        config=root / entry['Config'],
        method=entry['In Collection'],
        data=', '.join(data) if isinstance(data, list) else data,
        scores={result['Dataset']: result['Metrics'] for result in entry.get('Results') or []},
        gmac=_scaled(metadata.get('FLOPs'), 1e9),
        parameters=_scaled(metadata.get('Parameters'), 1e6),
        weights=weights,
    )


def _source(source: str) -> str:
    """Return a URL as it is, and the absolute path of a file; a relative one is below `WEIGHTS`."""
    return source if _is_url(source) else str(WEIGHTS / Path(source).expanduser())


def _is_url(source: str) -> bool:
    return urlparse(source).scheme in ('http', 'https')


def _scaled(count: float | None, unit: float) -> float | None:
    return None if count is None else count / unit


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding='utf-8'))
