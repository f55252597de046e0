"""Export of trained models to programs without mmmtl: ONNX graphs, PyTorch programs, and a runner for them."""

from .exporting import Export, export_model
from .onnx_stream import OnnxStream

__all__ = ['Export', 'OnnxStream', 'export_model']
