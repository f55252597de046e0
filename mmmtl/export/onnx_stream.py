"""A runner for exported models: frames in, a map of every task out, with NumPy and onnxruntime alone.

`mmmtl export` writes this file beside the graphs. It needs neither mmmtl nor PyTorch:

    from onnx_stream import OnnxStream

    stream, state = OnnxStream('folder'), None
    for frame in frames:  # (H, W, 3) uint8 RGB, all of one size
        maps, is_key, state = stream.step(frame, state)
        maps['depth']  # (1, H, W) float32, metres

What the files say about themselves is compared as plain data with the tables below. It names no code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Size = tuple[int, int]
Spec = Mapping[str, Any]
Run = Callable[[Arrays], Arrays]
"""A function from the arrays of a graph's inputs, by name, to those of its outputs."""
Shapes = dict[str, list[int | None]]
"""The shapes of tensors without the batch; None is an open side."""

METADATA = 'mmmtl'
"""The entry of a file's metadata that describes the model, as JSON."""
VERSION = 1
KINDS = (['image'], ['key'], ['key', 'non_key'])
"""The graphs that a model may have."""


class Graph(NamedTuple):
    """A graph as its file has it: the description, JSON, None if there is none; the tensors; and what runs it."""

    description: str | None
    inputs: Shapes
    outputs: Shapes
    run: Run


class State(NamedTuple):
    """The memory of a stream after a frame.

    Args:
        frames: number of frames so far.
        size: (height, width) of the frames that the graphs saw.
        memories: {'key' or 'non_key': what the last such frame left behind}.
        policy: what the choice of key frames needs.
    """

    frames: int
    size: Size
    memories: dict[str, Arrays]
    policy: dict[str, Any]


class Step(NamedTuple):
    """The result of a frame: {task: map (M, H, W)}, whether it is a key frame, and the state for the next one."""

    maps: Arrays
    is_key: bool
    state: State


class OnnxStream:
    """An exported model.

    Args:
        folder: the folder that `mmmtl export` wrote, or its `int8`.
        stretch: images are stretched to the model's size, which the maps have too. Otherwise they are scaled to fit
            into it, with bars if the graphs have a fixed size, and the maps have the images' size.
        threads: number of threads for each operator; None leaves it to onnxruntime.
        providers: execution providers of onnxruntime; None is the CPU.

    Raises:
        FileNotFoundError: a graph is missing.
        ImportError: onnxruntime is not installed.
        ValueError: wrong threads or providers, a file that is not such a graph or does not fit its description, or
            files of different exports.
    """

    suffix = '.onnx'

    def __init__(
        self,
        folder: str | Path,
        *,
        stretch: bool = False,
        threads: int | None = None,
        providers: list[str] | None = None,
    ) -> None:
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ValueError(f'threads must be a number from 1 on or None, not {threads!r}')
        if providers is not None:
            available = import_runtime().get_available_providers()
            if not isinstance(providers, list) or not providers or not all(name in available for name in providers):
                raise ValueError(f'providers must be a list of some of {available}, or None, not {providers!r}')
        self.stretch, self.threads, self.providers = stretch, threads, providers
        folder = Path(folder)
        first = next((kinds[0] for kinds in KINDS if (folder / f'{kinds[0]}{self.suffix}').is_file()), None)
        if first is None:
            raise FileNotFoundError(f'{folder}: neither image{self.suffix} nor key{self.suffix}; export a model there')
        self.spec, run = self._open(folder, first)
        self.graphs = {first: run}
        for kind in self.spec['kinds'][1:]:
            spec, self.graphs[kind] = self._open(folder, kind)
            if {**spec, 'kind': first} != self.spec:
                raise ValueError(
                    f'{folder}/{kind}{self.suffix}: not of the same export as {first}{self.suffix}; copy the whole '
                    'folder'
                )
        names = {f'{kind}{self.suffix}' for kinds in KINDS for kind in kinds if kind not in self.graphs}
        if strange := sorted(name for name in names if (folder / name).is_file()):
            raise ValueError(f'{folder}: {strange} beside {first}{self.suffix}; keep each export in its own folder')

    def step(self, frame: Array, state: State | None = None) -> Step:
        """Predict the next frame of a stream, (H, W, 3) uint8 RGB; `state` is the one before, None at the beginning.

        All frames must have one size. If the size of the graphs is fixed, a change is not noticed here: start a new
        stream yourself.
        """
        inputs, shown = self.prepare(frame)
        logits, is_key, state = self.advance(inputs, state)
        wanted = shown if self.stretch else (frame.shape[0], frame.shape[1])
        return Step(self.decode(logits, shown, wanted), is_key, state)

    def prepare(self, frame: Array) -> tuple[Array, Size]:
        """Return a frame as the graphs take it, (1, 3, H, W) float32, and its (height, width) there without bars."""
        if getattr(frame, 'dtype', None) != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            found = f'{frame.dtype} of shape {frame.shape}' if isinstance(frame, np.ndarray) else type(frame).__name__
            raise ValueError(f'a frame is an array (H, W, 3) of uint8, in the order red, green, blue, not {found}')
        size: Size = (self.spec['size'][0], self.spec['size'][1])
        shown = size if self.stretch else fit_inside((frame.shape[0], frame.shape[1]), size)
        seen = shown if self.spec['dynamic_size'] else size
        image = np.empty((*seen, 3), np.uint8)
        image[:] = self.spec['bars']
        image[: shown[0], : shown[1]] = resize_image(frame, shown)
        mean, std = (np.array(self.spec[name], np.float32) for name in ('mean', 'std'))
        normal = ((image.astype(np.float32) - mean) / std).transpose(2, 0, 1)
        below, right = (-side % self.spec['size_divisor'] for side in seen)
        return np.pad(normal, ((0, 0), (0, below), (0, right)))[None], shown

    def advance(self, inputs: Array, state: State | None = None) -> tuple[Arrays, bool, State]:
        """Run the graph of the next frame; return {task: logits (1, C, H, W)}, whether it is a key frame, the state.

        The inputs are those of `prepare`, and the logits have their size.
        """
        size = (inputs.shape[2], inputs.shape[3])
        state = state or State(0, size, {}, {})
        if state.size != size:
            raise ValueError(f'a frame of {size} after frames of {state.size}; start a new state (None)')
        policy, is_key = state.policy, False
        if (rule := self.spec['policy']) is not None:
            chosen = POLICIES[rule['kind']]
            is_key = 'key' not in state.memories or bool(chosen.wanted(rule, state, inputs))
            policy = chosen.remember(rule, state, inputs, is_key)
        kind = self.spec['kinds'][0] if is_key or rule is None else 'non_key'
        feed = {'frames': inputs}
        for slot in self.spec['reads'][kind]:
            memory = state.memories.get(slot) or self._remember(slot, inputs)
            feed |= {f'{slot}.{name}': array for name, array in memory.items()}
        outputs = self.graphs[kind](feed)
        logits = {name: outputs[f'logits.{name}'] for name in self.spec['tasks']}
        memories = {} if rule is None else {**state.memories, kind: self._memory(outputs)}
        return logits, is_key, State(state.frames + 1, size, memories, policy)

    def decode(self, logits: Arrays, shown: Size, wanted: Size) -> Arrays:
        """Return {task: map (M, H, W)} of `wanted` size from logits (1, C, h, w); `shown` is the size without bars.

        Raises:
            FloatingPointError: logits of a task are not finite.
        """
        maps = {}
        for name, task in self.spec['tasks'].items():
            scores = logits[name][0, :, : shown[0], : shown[1]]
            if not np.isfinite(scores).all():
                raise FloatingPointError(f'the logits of {name!r} are not finite; export other weights, or use float32')
            scores = scores if shown == wanted else resize_bilinear(scores, wanted)
            maps[name] = DECODERS[task['kind']].decode(scores, task)
        return maps

    def open_graph(self, path: Path) -> Graph:
        """Return the graph of a file."""
        onnxruntime = import_runtime()
        options = onnxruntime.SessionOptions()
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(str(path), options, providers=self.providers or ['CPUExecutionProvider'])
        inputs, outputs = (
            {one.name: [side if type(side) is int else None for side in one.shape[1:]] for one in tensors}
            for tensors in (session.get_inputs(), session.get_outputs())
        )
        names = list(outputs)
        text = session.get_modelmeta().custom_metadata_map.get(METADATA)
        return Graph(text, inputs, outputs, lambda feed: dict(zip(names, session.run(names, feed), strict=True)))

    def _open(self, folder: Path, kind: str) -> tuple[dict[str, Any], Run]:
        path = folder / f'{kind}{self.suffix}'
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file; copy the whole folder')
        try:
            graph = self.open_graph(path)
            spec = json.loads(graph.description or 'null')
        except ImportError:
            raise
        except Exception as error:  # onnxruntime and torch raise many types of errors for damaged files
            reason = ' '.join(str(error).split())
            raise ValueError(f'{path}: not a readable graph ({reason}); export it again') from error
        if spec is None:
            raise ValueError(f'{path}: no description of a model in it; write the file with `mmmtl export`')
        if (wrong := wrong_field(spec)) is not None:
            raise ValueError(
                f'{path}: its description has {wrong}; it was changed or is of another version, so export the model '
                'again'
            )
        if spec['kind'] != kind:
            raise ValueError(f'{path}: the graph of {spec["kind"]!r} frames; give files their own names back')
        if (wrong := wrong_tensor(spec, graph)) is not None:
            raise ValueError(f'{path}: {wrong}; graph or description was changed, so export the model again')
        return spec, graph.run

    def _remember(self, kind: str, inputs: Array) -> Arrays:
        """Return what a frame of a kind leaves behind, which depends on no earlier frame."""
        feed = {'frames': inputs}
        for name, shape in memory_shapes(self.spec, inputs.shape[2:]).items():
            zeros: Array = np.zeros((len(inputs), *shape), np.float32)  # type: ignore[arg-type]
            feed |= {f'{slot}.{name}': zeros for slot in self.spec['reads'][kind]}
        return self._memory(self.graphs[kind](feed))

    def _memory(self, outputs: Arrays) -> Arrays:
        return {name: outputs[f'memory.{name}'] for name in self.spec['state'] if f'memory.{name}' in outputs}


def import_runtime() -> Any:
    """Return the package onnxruntime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError('OnnxStream needs onnxruntime: pip install onnxruntime') from error
    return onnxruntime


def fit_inside(size: Size, box: Size) -> Size:
    """Return the largest (height, width) of the same aspect that fits into a box."""
    scale = min(box[0] / size[0], box[1] / size[1])
    height, width = (min(limit, max(1, round(side * scale))) for side, limit in zip(size, box))  # noqa: B905
    return height, width


def resize_image(image: Array, size: Size) -> Array:
    """Resize (H, W, 3) uint8: the average of areas if both sides shrink, bilinear otherwise."""
    if image.shape[:2] == size:
        return image
    if size[0] < image.shape[0] and size[1] < image.shape[1]:
        values = _average(_average(image, size[0], 0), size[1], 1)
    else:
        values = resize_bilinear(image.transpose(2, 0, 1), size).transpose(1, 2, 0)
    return np.rint(values).astype(np.uint8)


def resize_bilinear(array: Array, size: Size) -> Array:
    """Resize (..., h, w) to (H, W), between the centres of pixels, in float32."""
    for axis, new in zip((-2, -1), size):  # noqa: B905
        old = array.shape[axis]
        if old == new:
            continue
        place = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, old - 1)
        low = place.astype(np.intp)
        part = (place - low).astype(np.float32).reshape((-1, 1) if axis == -2 else (-1,))
        start = array.take(low, axis).astype(np.float32)
        array = start + part * (array.take(np.minimum(low + 1, old - 1), axis) - start)
    return array


def _average(array: Array, new: int, axis: int) -> Array:
    """Shrink an axis: each new value is the average over its part of the old ones."""
    old = array.shape[axis]
    edges = np.arange(new + 1) * (old / new)
    return np.diff(_sums(array, edges, axis), axis=axis) * (new / old)


def _sums(array: Array, edges: Array, axis: int) -> Array:
    """Return the sums of an axis up to positions between its values."""
    array = np.moveaxis(array, axis, 0).astype(np.int32 if array.dtype == np.uint8 else np.float64)
    whole = np.minimum(edges.astype(np.intp), len(array))
    part = (edges - whole).reshape(-1, *[1] * (array.ndim - 1))
    sums = np.concatenate([np.zeros_like(array[:1]), array.cumsum(0, dtype=array.dtype)])[whole]
    return np.moveaxis(sums + part * array[np.minimum(whole, len(array) - 1)], 0, axis)


def _classes(logits: Array, task: Spec) -> Array:
    labels: Array = logits.argmax(0)[None]
    return labels


def _linear(logits: Array, task: Spec) -> Array:
    values: Array = np.float32(task['scale']) * logits
    limits = task['least'], task['most']
    return values if limits == (None, None) else values.clip(*limits)


def _unit_vectors(logits: Array, task: Spec) -> Array:
    vectors: Array = logits / np.sqrt(np.maximum((logits * logits).sum(0, keepdims=True), np.float32(1e-12)))
    return vectors


def _probabilities(logits: Array, task: Spec) -> Array:
    with np.errstate(over='ignore'):  # the limit is 0
        found: Array = 1 / (1 + np.exp(-logits))
    return found


class Decoder(NamedTuple):
    """A kind of decoding.

    Args:
        fields: those of the description of a task with it, beside `kind`.
        decode: from logits (C, H, W) and the description of the task to a map (M, H, W).
        channels: from the description of the task to C; None is any number.
    """

    fields: Spec
    decode: Callable[[Array, Spec], Array]
    channels: Callable[[Spec], int | None] = lambda task: None


DECODERS = {
    'classes': Decoder({'classes': [str]}, _classes, lambda task: len(task['classes'])),
    'linear': Decoder({'scale': float, 'least': (float, None), 'most': (float, None), 'unit': str}, _linear),
    'unit_vectors': Decoder({}, _unit_vectors, lambda task: 3),
    'probabilities': Decoder({}, _probabilities),
}


def _interval(rule: Spec, state: State, inputs: Array) -> bool:
    return bool(state.frames % rule['interval'] == 0)


def _changed(rule: Spec, state: State, inputs: Array) -> bool:
    if not state.policy:
        return True
    change = np.abs(_thumbnail(rule, inputs) - state.policy['thumbnail']).mean()
    old = rule['max_interval'] is not None and state.policy['age'] >= rule['max_interval']
    return bool(old or change > rule['threshold'])


def _thumbnail(rule: Spec, inputs: Array) -> Array:
    """Return the averages of a grid of cells, which overlap if they do not divide the frame."""
    for axis, cells in zip((-2, -1), rule['size']):  # noqa: B905
        side, ends = inputs.shape[axis], np.arange(cells + 1)
        first, last = ends[:-1] * side // cells, -(-ends[1:] * side // cells)
        sums = _sums(inputs, last.astype(float), axis) - _sums(inputs, first.astype(float), axis)
        inputs = sums / (last - first).reshape((-1, 1) if axis == -2 else (-1,))
    return inputs


def _remember_change(rule: Spec, state: State, inputs: Array, is_key: bool) -> dict[str, Any]:
    if is_key or not state.policy:
        return {'thumbnail': _thumbnail(rule, inputs), 'age': 1}
    return {**state.policy, 'age': state.policy['age'] + 1}


def _credit(rule: Spec, state: State) -> float:
    if not state.policy:
        return float(rule['key_cost'])
    return float(min(state.policy['credit'], rule['burst'] * rule['key_cost']) + rule['budget'])


def _affordable(rule: Spec, state: State, inputs: Array) -> bool:
    inner = rule['policy']
    wanted = inner is None or POLICIES[inner['kind']].wanted(inner, state, inputs)
    return bool(wanted and _credit(rule, state) >= rule['key_cost'] * (1 - 1e-9))


def _pay(rule: Spec, state: State, inputs: Array, is_key: bool) -> dict[str, Any]:
    inner = rule['policy']
    kept = {} if inner is None else POLICIES[inner['kind']].remember(inner, state, inputs, is_key)
    return {**kept, 'credit': _credit(rule, state) - rule['key_cost' if is_key else 'non_key_cost']}


class Policy(NamedTuple):
    """A kind of key-frame policy.

    Args:
        fields: those of its description, beside `kind`.
        wanted: from description, state and inputs to whether the frame should be a key frame.
        remember: from these and whether it is one to what the next frame needs to know.
    """

    fields: Spec
    wanted: Callable[[Spec, State, Array], bool]
    remember: Callable[[Spec, State, Array, bool], dict[str, Any]]


def _schemas(kinds: Mapping[str, Decoder] | Mapping[str, Policy]) -> tuple[Spec, ...]:
    """Return what a description of each kind holds."""
    return tuple({'kind': kind, **one.fields} for kind, one in kinds.items())


SIMPLE_POLICIES = {
    'fixed_interval': Policy({'interval': int}, _interval, lambda *_: {}),
    'frame_change': Policy(
        {'threshold': float, 'max_interval': (int, None), 'size': [int, int]}, _changed, _remember_change
    ),
}
"""Those that a budget may hold."""
BUDGET = {
    **dict.fromkeys(('budget', 'key_cost', 'non_key_cost', 'burst'), float),
    'policy': (None, *_schemas(SIMPLE_POLICIES)),
}
POLICIES = {**SIMPLE_POLICIES, 'cost_budget': Policy(BUDGET, _affordable, _pay)}
FIELDS: Spec = {
    'version': VERSION,
    'kind': ('image', 'key', 'non_key'),
    'kinds': [str],
    'size': [int, int],
    'dynamic_size': bool,
    'size_divisor': int,
    'mean': [float] * 3,
    'std': [float] * 3,
    'bars': [float] * 3,
    'tasks': {str: _schemas(DECODERS)},
    'policy': (None, *_schemas(POLICIES)),
    'reads': {str: [('key', 'non_key')]},
    'state': {str: {'channels': int, 'stride': int}},
    'made': {str: str},
}
"""What a description holds: fields, one of a tuple, a list of one kind or of a length; `int` is 1 or more."""
LARGEST = float(np.finfo(np.float32).max)
"""The largest `float` of a description. JSON can hold NaN and larger numbers."""


def wrong_field(spec: Any) -> str | None:
    """Return the first field of a description that is not as it must be; None if there is none."""
    if type(spec) is not dict:
        return f'{type(spec).__name__} instead of fields'
    if different := sorted(set(spec) ^ set(FIELDS)):
        return f'unknown or missing fields {different}'
    for name, schema in FIELDS.items():
        value = spec[name]
        if _fits(value, schema):
            continue
        if isinstance(schema, dict) and isinstance(value, dict):
            key, one = next((key, one) for key, one in value.items() if not _fits(one, schema[str]))
            return f'{name}[{key!r}] = {one!r}'
        return f'{name} = {value!r}'
    kinds, reads = spec['kinds'], spec['reads']
    right = {
        'kinds': kinds in KINDS,
        'std': min(spec['std']) > 0,
        'tasks': bool(spec['tasks']),
        'reads': set(reads) == set(kinds) and spec['kind'] in kinds and set().union(*reads.values()) <= set(kinds),
        'policy': (spec['policy'] is None) == (kinds == ['image']),
    }
    return next((f'{name} = {spec[name]!r}' for name, holds in right.items() if not holds), None)


def wrong_tensor(spec: Spec, graph: Graph) -> str | None:
    """Return the first input or output of a graph that is not as its description says; None if there is none."""
    sides = [None if spec['dynamic_size'] else side + -side % spec['size_divisor'] for side in spec['size']]
    memories = memory_shapes(spec, sides)
    read = {slot for slots in spec['reads'].values() for slot in slots}
    inputs = {f'{slot}.{name}': shape for slot in spec['reads'][spec['kind']] for name, shape in memories.items()}
    outputs = {f'memory.{name}': shape for name, shape in memories.items() if spec['kind'] in read}
    for name, task in spec['tasks'].items():
        count = DECODERS[task['kind']].channels(task)
        if count is None:
            count = next(iter(graph.outputs.get(f'logits.{name}', [])), None)
        outputs[f'logits.{name}'] = [count, *sides]
    for says, has in (({'frames': [3, *sides], **inputs}, graph.inputs), (outputs, graph.outputs)):
        if wrong := sorted(name for name in {*says, *has} if says.get(name) != has.get(name)):
            name = wrong[0]
            if name not in says or name not in has:
                return f'{name!r} is in the {"description" if name in says else "graph"} alone'
            return f'{name!r} has the shape {has.get(name)} in the graph, {says.get(name)} in its description'
    return None


def memory_shapes(spec: Spec, size: Sequence[int | None]) -> Shapes:
    """Return the shapes of what a frame of a size leaves behind."""
    return {
        name: [one['channels'], *(side and -(-side // one['stride']) for side in size)]
        for name, one in spec['state'].items()
    }


def _fits(value: Any, schema: Any) -> bool:
    if isinstance(schema, tuple):
        return any(_fits(value, one) for one in schema)
    if isinstance(schema, list) and isinstance(value, list):
        pairs = zip(value, schema * len(value) if len(schema) == 1 else schema)  # noqa: B905
        return len(schema) in (1, len(value)) and all(_fits(*pair) for pair in pairs)
    if isinstance(schema, dict) and isinstance(value, dict):
        if str in schema:
            return all(_fits(one, schema[str]) for one in value.values())
        return set(value) == set(schema) and all(_fits(value[name], one) for name, one in schema.items())
    if schema is float:
        return type(value) in (int, float) and abs(value) <= LARGEST
    if schema is int:
        return type(value) is int and value >= 1
    if isinstance(schema, type):
        return type(value) is schema
    return bool(type(value) is type(schema) and value == schema)
