"""ATRC's decoder, its search, and their parts."""

from .context import GlobalContext, LabelContext, LocalContext, TaskMaps, build_context, region_descriptors
from .fusion import ContextFusion
from .genotype import CONTEXTS, label_tasks, read_genotype
from .head import ATRCHead
from .search import ContextChoice, entropy, leads
from .search_head import ATRCSearchHead

__all__ = [
    'CONTEXTS',
    'ATRCHead',
    'ATRCSearchHead',
    'ContextChoice',
    'ContextFusion',
    'GlobalContext',
    'LabelContext',
    'LocalContext',
    'TaskMaps',
    'build_context',
    'entropy',
    'label_tasks',
    'leads',
    'read_genotype',
    'region_descriptors',
]
