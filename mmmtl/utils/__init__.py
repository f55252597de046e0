"""Tools' helpers: command lines, processes, and what a model costs."""

from .cost import Cost, ModelCost, build_on_meta, cost_table, count_cost
from .macs import count_macs
from .stream_cost import average_macs

__all__ = ['Cost', 'ModelCost', 'average_macs', 'build_on_meta', 'cost_table', 'count_cost', 'count_macs']
