"""Evaluation: the metric that asks the tasks, delta_m, and reports."""

from .delta_m import delta_m
from .multi_task_metric import MultiTaskMetric, merge_totals
from .report import metrics_table, write_metrics

__all__ = ['MultiTaskMetric', 'delta_m', 'merge_totals', 'metrics_table', 'write_metrics']
