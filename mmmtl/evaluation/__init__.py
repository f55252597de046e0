"""Evaluation: the metrics of the tasks, delta_m, and tables of them."""

from .additive_metric import AdditiveMetric, merge_totals
from .baseline import Baseline, load_baseline
from .constant_predictor import constant_predictor, fit_constants
from .delta_m import delta_m, delta_m_meta
from .metric_files import read_metrics, write_metrics
from .multi_task_metric import MultiTaskMetric
from .published import PUBLISHED, PublishedTable
from .tables import class_table, compare, comparison_table, metrics_table
from .temporal_consistency import TemporalConsistency

__all__ = [
    'PUBLISHED',
    'AdditiveMetric',
    'Baseline',
    'MultiTaskMetric',
    'PublishedTable',
    'TemporalConsistency',
    'class_table',
    'compare',
    'comparison_table',
    'constant_predictor',
    'delta_m',
    'delta_m_meta',
    'fit_constants',
    'load_baseline',
    'merge_totals',
    'metrics_table',
    'read_metrics',
    'write_metrics',
]
