"""Models by name: what the zoo has, and its weights, checked."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from mmmtl.io.checkpoints import download
from mmmtl.io.files import check_sha256
from mmmtl.zoo import find_model, is_name, models


def list_models(pattern: str = '*', *, weights: bool = False) -> list[str]:
    """Return the names of the models that come with mmmtl, sorted; `MultiTaskInferencer` and all commands take them.

    Args:
        pattern: a name with wildcards, such as 'mila*house*'.
        weights: return only models that have weights.

    Examples:
        >>> list_models('mila_tiny*')
        ['mila_tiny-k5_1xb8-demo_synthetic-64x128']
    """
    return [name for name, model in models().items() if fnmatch(name, pattern) and (model.weights or not weights)]


def zoo_weights(config: object) -> Path | None:
    """Return the weights file of a named model; None for a model without weights, and for a config file.

    Weights with a URL are downloaded into torch's cache first.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no such model, or a file whose SHA-256 is not the one in the zoo.
    """
    if not is_name(config):
        return None
    weights = find_model(str(config)).weights
    if weights is None:
        return None
    path = download(weights.source) if weights.is_url else Path(weights.source)
    fix = f'delete it, and it is loaded again from {weights.source}' if weights.is_url else 'install mmmtl again'
    check_sha256(path, weights.sha256, fix)
    return path
