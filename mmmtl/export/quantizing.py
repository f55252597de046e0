"""int8 graphs for CPUs: static, per channel, with the ranges that frames of a video have in them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmmtl.structures import Array

from .onnx_stream import METADATA, Arrays, OnnxStream, Run
from .writing import errors_alone

RECTIFIERS = ['Relu', 'Clip']


def quantize(source: Path, target: Path, frames: Sequence[Array]) -> None:
    """Write the graphs of a folder to another one, with the dense convolutions of their backbones in int8.

    Everything else stays float32: neck and heads, whose work is small; depthwise convolutions, which lose much; the
    first convolution, which loses most; inputs, outputs and states, so that the files take each other's place. A ReLU
    behind a convolution is a part of it, so that no level is spent on what the ReLU cuts off. Weights have seven bits:
    with eight, the sums of CPUs without VNNI overflow.

    Args:
        source: folder of the float32 graphs.
        target: a folder.
        frames: (1, 3, H, W), in the order of the video, as `OnnxStream.prepare` gives them.

    Raises:
        ValueError: the frames lack a kind of frame, or a graph has no convolution that can be quantized to int8.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, feeds: Sequence[Arrays]) -> None:
            self.left = iter(feeds)

        def get_next(self) -> Arrays | None:
            return next(self.left, None)

    stream = OnnxStream(source)
    for kind, feeds in _recorded(stream, frames).items():
        if not feeds:
            raise ValueError(f'{source}: none of the {len(frames)} frames has the kind {kind!r}; give more of them')
        path, output = source / f'{kind}.onnx', target / f'{kind}.onnx'
        # onnxruntime logs its advice for each file.
        with tempfile.TemporaryDirectory() as temporary, errors_alone(''):
            prepared = Path(temporary) / 'graph.onnx'
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            convolutions, rectifiers = _chosen(onnx.load(prepared))
            if not convolutions:
                raise ValueError(
                    f'{path}: no convolution of its backbones can be quantized to int8; export it without int8'
                )
            quantize_static(
                str(prepared),
                str(output),
                Reader(feeds),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=['Conv', *RECTIFIERS],  # only what these read and return gets a range
                nodes_to_quantize=convolutions + rectifiers,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        proto = onnx.load(output)
        description = {**stream.spec, 'kind': kind, 'made': {**stream.spec['made'], 'numbers': 'int8'}}
        onnx.helper.set_model_props(proto, {METADATA: json.dumps(description)})
        onnx.save(proto, output)


def _chosen(model: Any) -> tuple[list[str], list[str]]:
    """Return the names of the backbones' convolutions that are quantized to int8, and of the ReLUs behind them.

    They are not depthwise, nor of a single pixel as those of SE, nor do they read the frames. Of the channels that the
    first convolution returns, a few have far larger values than the others, for which 256 common levels are too coarse.
    """
    graph = model.graph
    shapes = {one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in graph.value_info}
    convolutions = [
        node
        for node in graph.node
        if node.op_type == 'Conv'
        and 'backbone.' in node.input[1]
        and node.input[0] != 'frames'
        and not any(one.name == 'group' and one.i > 1 for one in node.attribute)
        and shapes.get(node.output[0], [])[2:] != [1, 1]
    ]
    returned = {node.output[0] for node in convolutions}
    rectifiers = [node for node in graph.node if node.op_type in RECTIFIERS and node.input[0] in returned]
    return [node.name for node in convolutions], [node.name for node in rectifiers]


def _recorded(stream: OnnxStream, frames: Sequence[Array]) -> dict[str, list[Arrays]]:
    """Return what the graph of each kind is given when a stream runs over the frames."""
    state = None
    feeds: dict[str, list[Arrays]] = {kind: [] for kind in stream.graphs}
    given: list[tuple[str, Arrays]] = []

    def recorded(kind: str, run: Run) -> Run:
        def record(feed: Arrays) -> Arrays:
            given.append((kind, feed))
            return run(feed)

        return record

    stream.graphs = {kind: recorded(kind, run) for kind, run in stream.graphs.items()}
    for inputs in frames:
        _, _, state = stream.advance(inputs, state)
        # The frame's own run is the last; one before it made a memory that was missing.
        kind, feed = given[-1]
        feeds[kind].append(feed)
    return feeds
