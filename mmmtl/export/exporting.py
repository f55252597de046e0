"""Export of a model to a folder: traced, written, and compared with PyTorch before anything appears there."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from prettytable import PrettyTable
from torch.export import ExportedProgram

from mmmtl.apis import MultiTaskInferencer
from mmmtl.apis.fitting import Size
from mmmtl.io import check_new_folder
from mmmtl.io.image_sources import check_image
from mmmtl.io.outputs import temporary_folder
from mmmtl.models import MultiTaskSegmentor
from mmmtl.structures import Array
from mmmtl.structures.array import is_size

from . import onnx_stream
from .compare import Comparison, ProgramStream, TorchStream, compare
from .description import describe
from .graphs import FrameGraph, frame_graphs, trace
from .onnx_stream import OnnxStream
from .quantizing import quantize
from .writing import write_onnx, write_program

Format = Literal['onnx', 'torch']
TOLERANCE = 1e-3

PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')
"""Packages that write ONNX graphs and run them; a test compares them with requirements/export.txt."""


class Target(NamedTuple):
    """A format: what writes a file, and what opens a folder of them."""

    write: Callable[[Path, ExportedProgram, FrameGraph, str], None]
    open: type[OnnxStream]


TARGETS: dict[Format, Target] = {'onnx': Target(write_onnx, OnnxStream), 'torch': Target(write_program, ProgramStream)}
FORMATS = tuple(TARGETS)


class Export(NamedTuple):
    """What was exported.

    Args:
        folder: folder of the files.
        found: {'onnx', 'torch', 'onnx int8', ...: how it differs from the model in PyTorch, which is the first entry}.
        frames: number of frames that were compared.
        description: what the files say about the model.
        metrics: {task: its primary metric}.
    """

    folder: Path
    found: dict[str, Comparison]
    frames: int
    description: dict[str, Any]
    metrics: dict[str, str]

    def table(self) -> str:
        """Return errors and times as a table.

        The error is the largest difference of a task's logits from PyTorch's in float32, divided by the largest of
        these. Behind it stands the primary metric of the task, with PyTorch's float32 maps as labels.
        """
        tasks, kinds = self.metrics, self.description['kinds']
        columns = [text for task, metric in tasks.items() for text in (f'{task}: error', f'{task}: {metric}')]
        shown = PrettyTable(['', *columns, *(f'{kind.replace("_", "-")} ms' for kind in kinds)], align='r')
        shown.align[''] = 'l'
        for name, one in self.found.items():
            errors = [text for task in tasks for text in (f'{one.error[task]:.1e}', f'{one.loss[task]:.3g}')]
            times = [f'{one.milliseconds[kind]:.1f}' if kind in one.milliseconds else '' for kind in kinds]
            shown.add_row([name, *errors, *times])
        return str(shown.get_string())


def export_model(
    inferencer: MultiTaskInferencer,
    folder: str | Path,
    frames: Iterable[Array],
    *,
    name: str = 'model',
    size: Size | None = None,
    dynamic_size: bool = False,
    formats: Sequence[Format] = ('onnx',),
    int8: bool = False,
    tolerance: float = TOLERANCE,
) -> Export:
    """Export a model to a new folder, and compare it there with PyTorch; nothing is left if they differ.

    An image model becomes `image.onnx`, a video model `key.onnx` and, unless every frame is a key frame,
    `non_key.onnx`: each takes and returns the state of the stream as tensors. `onnx_stream.py`, which runs them without
    mmmtl, lies beside them. 'torch' writes the same graphs as `.pt2` programs of `torch.export`.

    Args:
        inferencer: the model, on the CPU and not optimised.
        folder: a new or an empty one.
        frames: (H, W, 3) uint8 BGR of a video, to compare with.
        name: name of the model, for the files and messages.
        size: (height, width) that the model sees; by default its own.
        dynamic_size: graphs take frames of any size, and `size` only says into which the frames are scaled.
        formats: one or both of 'onnx' and 'torch'.
        int8: also write ONNX graphs with int8 convolutions to a folder `int8` in the folder, calibrated on the frames.
            Their loss is measured, but not refused; beside it stands that of PyTorch in bfloat16.
        tolerance: largest error of a task, relative to its largest logit.

    Raises:
        ValueError: a model that cannot be exported, a wrong size, wrong or no frames, a folder that holds something, or
            too large an error.
    """
    check_new_folder(folder)
    size = check_size(size or inferencer.model_size, name)
    if inferencer.device.type != 'cpu' or inferencer.optimize is not None:
        raise ValueError(f"{name}: export a model on the CPU (device='cpu') that is not optimised")
    check_formats(formats, int8=int8)
    compared = check_frames(frames, name)
    model, target = inferencer.model, Path(folder).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    # A mount point cannot be replaced, only filled.
    is_there = target.exists()
    with temporary_folder(target if is_there else target.parent, '.export.') as temporary:
        place = temporary / target.name
        place.mkdir()
        description = write_graphs(inferencer, place, name, size, dynamic_size=dynamic_size, formats=formats)
        streams: dict[str, OnnxStream] = {form: TARGETS[form].open(place) for form in formats}
        guide = next(iter(streams.values()))
        prepared = [guide.prepare(frame[..., ::-1]) for frame in compared]
        inputs, shown = [one for one, _ in prepared], prepared[0][1]
        if not dynamic_size and shown != tuple(size):
            warnings.warn(
                f'{name}: frames that are scaled to {tuple(size)} get bars, which change the maps; to avoid them, '
                f'export at {shown} (--size {shown[0]} {shown[1]})',
                stacklevel=2,
            )
        found = compare(model, streams, inputs)
        for form in formats:
            check_errors(found[form], tolerance, f'{name} as {form}')
        if int8:
            found |= add_int8(place, model, streams['onnx'], inputs)
        if 'onnx' in formats:
            shutil.copyfile(onnx_stream.__file__, place / 'onnx_stream.py')
        if is_there:
            for part in sorted(place.iterdir()):
                os.replace(part, target / part.name)
        else:
            os.replace(place, target)
    metrics = {task: one.primary_metric for task, one in model.main_tasks.items()}
    return Export(Path(folder), found, len(inputs), description, metrics)


def write_graphs(
    inferencer: MultiTaskInferencer,
    folder: Path,
    name: str,
    size: Size,
    *,
    dynamic_size: bool,
    formats: Sequence[Format],
) -> dict[str, Any]:
    """Write the graph of each kind of frame in each format; return the description of the model."""
    model = inferencer.model
    padded = model.data_preprocessor.padded_size(size)
    # Random: a policy or a neck may treat equal images in their own way. Two, since PyTorch takes a 1 for a constant.
    images = torch.randn(2, 3, *padded, generator=torch.Generator().manual_seed(0))
    graphs = list(frame_graphs(model, images))
    description = describe(model, name, [graph for graph, _ in graphs], size, dynamic_size=dynamic_size)
    for graph, inputs in graphs:
        own = json.dumps({**description, 'kind': graph.kind})
        try:
            program = trace(graph, inputs, dynamic_size=dynamic_size)
            for target in (TARGETS[form] for form in formats):
                target.write(folder / f'{graph.kind}{target.open.suffix}', program, graph, own)
        except Exception as error:  # PyTorch's exporters raise many types of errors
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ValueError(f'{name}: its {graph.kind} graph cannot be exported: {reason}') from error
    return description


def add_int8(
    folder: Path, model: MultiTaskSegmentor, exact: OnnxStream, frames: Sequence[Array]
) -> dict[str, Comparison]:
    """Write int8 graphs to a folder in that of the exact ones; return how both differ, beside PyTorch in bfloat16."""
    small = folder / 'int8'
    small.mkdir()
    quantize(folder, small, frames)
    bfloat16 = TorchStream(model, torch.bfloat16)
    found = compare(model, {'onnx': exact, 'onnx int8': OnnxStream(small), 'PyTorch bfloat16': bfloat16}, frames)
    shutil.copyfile(onnx_stream.__file__, small / 'onnx_stream.py')
    return found


def check_size(size: Size | None, name: str) -> Size:
    """Return a size; refuse None and what is not (height, width)."""
    if size is None:
        raise ValueError(f'{name}: its test pipeline has no Resize that sets the size; give a size')
    if not is_size(size):
        raise ValueError(f'size must be (height, width) in pixels, not {size!r}')
    return size


def check_frames(frames: Iterable[Array], name: str) -> list[Array]:
    """Return frames as a list; refuse none at all, and what is not a frame."""
    if isinstance(frames, (str, Path)):
        raise ValueError(f"frames must be arrays, not the name '{frames}'; `mmmtl.io.read_frames` reads a video")
    checked = [check_image(frame) for frame in frames]
    if not checked:
        raise ValueError(f'{name}: no frame to compare the exported model with')
    return checked


def check_formats(formats: Collection[Format], *, int8: bool) -> None:
    """Refuse formats that do not exist, that lack a package, or of which no int8 graphs are made."""
    if not formats or not set(formats) <= set(FORMATS):
        raise ValueError(f'formats must be one or more of {list(FORMATS)}, not {list(formats)}')
    check_packages(formats)
    if int8 and 'onnx' not in formats:
        raise ValueError("int8 graphs are made of those of the format 'onnx'; add it to the formats")


def check_packages(formats: Collection[Format]) -> None:
    """Refuse to write ONNX graphs without the packages that do it."""
    if 'onnx' in formats and (missing := [name for name in PACKAGES if find_spec(name) is None]):
        raise ValueError(f'ONNX graphs need {", ".join(missing)}: pip install "mmmtl[export]"')


def check_errors(found: Comparison, tolerance: float, what: str) -> None:
    """Refuse errors above the tolerance, and those that are not numbers."""
    for task, error in found.error.items():
        if not error <= tolerance:
            raise ValueError(
                f'{what}: the largest error of task {task!r} is {error:.2e} of its largest logit, above the tolerance '
                f'of {tolerance:g}; nothing was written; to accept it, raise the tolerance (--tolerance)'
            )
