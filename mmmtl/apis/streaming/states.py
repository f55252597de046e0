"""The file from which a stopped run goes on: where each stream stood, and its state. It holds data only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mmmtl.io.safetensors import read_safetensors, write_safetensors
from mmmtl.io.source_names import source_name, without_user
from mmmtl.io.video import Video
from mmmtl.structures import StreamState
from mmmtl.structures.stream_state import SLOTS

from .source import Position

FORMAT = 1

FIELDS = {'source': str, 'number': int, 'dropped': int, 'time': float, 'since_key': int, 'done': bool}
"""Fields of each stream in the header, besides the sizes of its last frame and of its state."""

POSITION = FIELDS.keys() - {'source', 'done'}

ROUNDS = 600_000
"""Steps of the hash of an address, about 0.3 s."""

MOST = 1 << 53
"""The largest number or time that can be true."""


class SavedStream(NamedTuple):
    """A stream in a state file.

    Args:
        source: text that `describe_source` returns.
        start: where it goes on.
        done: whether it had ended.
        state: one row; None before the first frame and after the end.
    """

    source: str
    start: Position
    done: bool
    state: StreamState | None


def describe_source(video: Video) -> str:
    """Return what a video must have in common with that of the stopped run: its name, and the bytes of a file.

    The user and the password of an address may change. A slow hash stands for the other values that `source_name`
    leaves out; it makes guessing slow, but does not protect a short value such as a PIN.
    """
    if not isinstance(video, (str, Path, int)):
        return 'frames'
    text, name = str(video), source_name(video)
    # `Path.is_file` raises an error for a pipeline that is longer than a name may be.
    if os.path.isfile(text):
        return f'{name}, {os.path.getsize(text)} bytes'
    if os.path.exists(text) or (whole := without_user(text)) == name:
        return name
    return f'{name}, {hashlib.pbkdf2_hmac("sha256", whole.encode(), name.encode(), ROUNDS).hex()[:16]}'


def save_streams(path: str | Path, streams: Mapping[str, SavedStream], model: str) -> None:
    """Write a state file, whole or not at all.

    Args:
        path: path of the file, ends in '.safetensors'.
        streams: {name: stream}.
        model: describes the model; `load_streams` must get the same text.

    Raises:
        ValueError: another suffix.
    """
    tensors: dict[str, Tensor] = {}
    described: dict[str, dict[str, Any]] = {}
    for index, (name, one) in enumerate(streams.items()):
        described[name] = {'source': one.source, **one.start._asdict(), 'done': one.done, 'resolution': None}
        for field, value in ({} if one.state is None else one.state.state_dict()).items():
            if isinstance(value, Tensor):
                tensors[f'{index}.{field}'] = value
            elif isinstance(value, dict):
                tensors |= {f'{index}.{field}.{key}': tensor for key, tensor in value.items()}
            else:
                described[name][field] = value
    write_safetensors(path, tensors, {'format': FORMAT, 'model': model, 'streams': described})


def load_streams(path: str | Path, sources: Mapping[str, str], model: str) -> dict[str, SavedStream]:
    """Return the streams of a state file.

    Args:
        path: the file.
        sources: {name: text that `describe_source` returns} of the run that goes on.
        model: text that `save_streams` got.

    Raises:
        ValueError: not a state file, or one of another model or of other sources.
    """
    file, size = read_safetensors(Path(path), str(path))
    meta, tensors = file['meta'], file['state_dict']
    if meta.get('format') != FORMAT or not isinstance(meta.get('streams'), dict):
        raise ValueError(f'{path}: holds no states of streams of this version; delete it, or give another name')
    if meta.get('model') != model:
        raise ValueError(
            f'{path}: its states belong to a model with other weights, another key-frame policy, optimisation or image '
            'size; give the same model, or delete the file to start again'
        )
    described = meta['streams']
    found = {name: one.get('source') if isinstance(one, dict) else None for name, one in described.items()}
    if found != dict(sources):
        raise ValueError(
            f'{path}: its states are of the sources {found}, not {dict(sources)}; give the same ones, or delete the '
            'file to begin anew'
        )
    return {name: _saved(path, index, name, described[name], tensors) for index, name in enumerate(described)}


def _saved(path: str | Path, index: int, name: str, one: dict[str, Any], tensors: Mapping[str, Tensor]) -> SavedStream:
    """Return a stream of the file; refuse one that is not as `save_streams` writes it."""
    start = _position(f'{path}: stream {name!r}', one)
    own = {key.partition('.')[2]: value for key, value in tensors.items() if key.partition('.')[0] == str(index)}
    if own:
        state = _state(f'{path}: stream {name!r}', one.get('resolution'), own)
        return SavedStream(one['source'], start, one['done'], state)
    if start.number and not one['done']:
        raise ValueError(f'{path}: stream {name!r} has no state; delete the file to begin anew')
    return SavedStream(one['source'], start, one['done'], None)


def _position(where: str, one: Mapping[str, Any]) -> Position:
    """Return where a stream goes on, and check all its fields in the header."""
    wrong = [key for key, kind in FIELDS.items() if type(one.get(key)) is not kind]
    wrong += [] if 'size' in one and _is_size(one['size']) else ['size']
    if wrong or not all(0 <= one[key] <= MOST for key in POSITION) or (one['size'] is None) != (one['number'] == 0):
        raise ValueError(f'{where} is damaged at {wrong or "its position"}; delete the file to begin anew')
    size = None if one['size'] is None else tuple(one['size'])
    return Position(**{key: one[key] for key in POSITION}, size=size)


def _state(where: str, resolution: object, tensors: Mapping[str, Tensor]) -> StreamState:
    """Return the state of a stream from its tensors, {field: tensor} and {slot.name: tensor}."""
    state: dict[str, Any] = {slot: {} for slot in SLOTS}
    state['resolution'] = tuple(resolution) if isinstance(resolution, list) else resolution
    for key, value in tensors.items():
        slot, _, entry = key.partition('.')
        if entry and slot in SLOTS:
            state[slot][entry] = value
        else:
            # `from_state_dict` refuses unknown fields.
            state[key] = value
    try:
        restored = StreamState.from_state_dict(state)
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from None
    if len(restored) != 1:
        raise ValueError(f'{where} has a state of {len(restored)} streams; delete the file to begin anew')
    return restored


def _is_size(value: object) -> bool:
    """Return whether this is what JSON makes of a (height, width) or None."""
    return value is None or (isinstance(value, list) and list(map(type, value)) == [int, int] and min(value) > 0)
