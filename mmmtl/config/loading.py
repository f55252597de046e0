"""Loading of config files, with errors that name the file and the line."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.utils import import_modules_from_strings

from mmmtl.zoo import find_model, is_name, models

from .options import merge_options
from .resolving import chosen_tasks, intervals
from .variables import read_config_file

CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')

MODULE2PACKAGE['mmmtl'] = 'mmmtl'  # `_base_ = 'mmmtl::...'` names a config of the installed package


def load_config(
    path: str | Path, *, options: Mapping[str, Any] | None = None, tasks: Sequence[str] | None = None
) -> Config:
    """Return the config in a file with the overrides of a command line, not resolved yet.

    Args:
        path: a file that ends in one of `CONFIG_SUFFIXES`; or the name of a model that `mmmtl.apis.list_models` lists.
        options: {dotted key: value}.
        tasks: names of the tasks to keep; None keeps all.

    Raises:
        ValueError: no such file or model, the file is not a config, or an option has no effect.
    """
    path = find_model(str(path)).config if is_name(path) else Path(path)
    if not path.is_file():
        hint = f'; `{path.stem}` alone is the name of a model' if path.stem in models() else ''
        raise ValueError(f'{path}: no such config file{hint}')
    if path.suffix not in CONFIG_SUFFIXES:
        raise ValueError(f'{path}: a config file must end in one of {CONFIG_SUFFIXES}, not {path.suffix!r}')
    try:
        read_config_file(path)  # finds errors of syntax; mmengine would name a copy of the file
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code, and may raise anything
        cause = _cause(error)
        raise ValueError(f'{_place(path, cause)}: {type(cause).__name__}: {_reason(cause)}') from error
    _drop_scope(cfg)
    if options is not None:
        before = intervals(cfg)
        merge_options(cfg, options)
        _check_intervals(cfg, before)
        if any(key.partition('.')[0] == 'custom_imports' for key in options):
            _import_custom(cfg)
    if tasks is not None:
        cfg.use_tasks = list(tasks)
    _check_left_out(cfg, options or {})
    return cfg


def _check_left_out(cfg: Config, options: Iterable[str]) -> None:
    """Refuse options of tasks that `use_tasks` leaves out."""
    of_tasks = [key for key in options if key.startswith('tasks.')]
    used = chosen_tasks(cfg, cfg.filename) if of_tasks else {}
    for key in of_tasks:
        if key.split('.')[1] not in used:
            raise ValueError(
                f'--cfg-options {key}: has no effect, because the task is left out; use_tasks is {[*used]}'
            )


def _check_intervals(cfg: Config, before: Mapping[str, Any]) -> None:
    """Refuse options that set an interval that `key_frame_interval` replaces."""
    shared = cfg.get('key_frame_interval')
    for key, value in intervals(cfg).items():
        if shared is not None and value not in (shared, before.get(key)):
            raise ValueError(
                f'--cfg-options {key}={value}: has no effect, because key_frame_interval={shared} replaces it; set '
                f'key_frame_interval={value}, or key_frame_interval=None to give each its own'
            )


def _drop_scope(value: Any) -> None:
    """Remove the `_scope_` that mmengine puts into each dict of an `mmmtl::` config, as other base files have none."""
    if isinstance(value, (Config, dict)):
        if value.get('_scope_') == 'mmmtl':
            del value['_scope_']
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for part in value:
        _drop_scope(part)


def _import_custom(cfg: Config) -> None:
    """Import what `custom_imports` names after it was overridden; mmengine has imported what the file names."""
    try:
        import_modules_from_strings(**cfg.custom_imports)
    except Exception as error:  # a module may raise anything
        cause = _cause(error)
        raise ValueError(f'--cfg-options custom_imports: {type(cause).__name__}: {_reason(cause)}') from error


def _cause(error: BaseException) -> BaseException:
    """Return the error in an imported module, of which mmengine only says that the import failed."""
    frames = traceback.extract_tb(error.__traceback__)
    inner = error.__cause__ or error.__context__
    theirs = bool(frames) and 'mmengine' in Path(frames[-1].filename).parts
    return _cause(inner) if isinstance(error, ImportError) and inner is not None and theirs else error


def _place(path: Path, error: BaseException) -> str:
    """Return the file and the line of an error in a config or in one of its base files."""
    if isinstance(error, SyntaxError):
        return f'{error.filename}:{error.lineno}'
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.name == '<module>' and f.filename != __file__]
    own = [frame for frame in frames if Path(frame.filename).suffix == '.py' and 'mmengine' not in frame.filename]
    return f'{own[-1].filename}:{own[-1].lineno}' if own else str(path)


def _reason(error: BaseException) -> str:
    """Return what an error says, on one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    if isinstance(error, ModuleNotFoundError):
        text += '; install it, or put the folder that holds it on PYTHONPATH'
    return ' '.join(text.split())[:400]
