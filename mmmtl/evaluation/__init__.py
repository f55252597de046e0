"""Evaluation: the metric that asks the tasks, delta_m, and reports."""

from .constant_predictor import constant_predictor, fit_constants
from .delta_m import delta_m
from .multi_task_metric import MultiTaskMetric, merge_totals
from .report import metrics_table, write_metrics

__all__ = [
    'MultiTaskMetric',
    'constant_predictor',
    'delta_m',
    'fit_constants',
    'merge_totals',
    'metrics_table',
    'write_metrics',
]
