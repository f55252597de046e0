"""Profiling: multiply-accumulates, parameters, latency and memory of a model, and MILA's way of counting."""

from .cost import Cost, ModelCost, average_macs, build_on_meta, cost_table, count_cost
from .macs import count_macs

__all__ = ['Cost', 'ModelCost', 'average_macs', 'build_on_meta', 'cost_table', 'count_cost', 'count_macs']
