"""Files of traced graphs: ONNX, and programs of `torch.export`."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.export import ExportedProgram

from .compare import NAMES
from .graphs import FrameGraph
from .onnx_stream import METADATA

OPSET = 18
"""ONNX opset: the first with antialiased resizing."""


def write_onnx(path: Path, program: ExportedProgram, graph: FrameGraph, description: str) -> None:
    """Write a program as an ONNX file of standard operators that carries a description."""
    import onnx

    # The exporter and its optimizer log what they do, and that torchvision is not installed.
    with errors_alone('torch.onnx', 'onnxscript', 'onnx_ir'), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        exported = torch.onnx.export(
            program,
            (),
            input_names=graph.inputs,
            output_names=graph.outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None
    proto = exported.model_proto
    # Their origins: names of modules, and the exporting machine's files.
    for thing in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        thing.ClearField('metadata_props')
        thing.ClearField('doc_string')
    onnx.helper.set_model_props(proto, {METADATA: description})
    onnx.checker.check_model(proto)
    if own := sorted(
        {f'{node.domain}.{node.op_type}' for node in proto.graph.node if node.domain not in ('', 'ai.onnx')}
    ):
        raise ValueError(f'{", ".join(own)} are not standard ONNX operators')
    onnx.save(proto, path)


def write_program(path: Path, program: ExportedProgram, graph: FrameGraph, description: str) -> None:
    """Write a program that carries a description and the names of its inputs and outputs."""
    names = json.dumps({'inputs': graph.inputs, 'outputs': graph.outputs})
    torch.export.save(program, path, extra_files={METADATA: description, NAMES: names})


@contextmanager
def errors_alone(*names: str) -> Iterator[None]:
    """Let loggers write errors alone; '' is the root."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
