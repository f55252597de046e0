"""The parts of ATRC's decoder."""

from .context import GlobalContext, LabelContext, LocalContext, build_context, region_descriptors
from .fusion import ContextFusion
from .genotype import CONTEXTS, label_tasks, read_genotype
from .search import ContextChoice, entropy, leads

__all__ = [
    'CONTEXTS',
    'ContextChoice',
    'ContextFusion',
    'GlobalContext',
    'LabelContext',
    'LocalContext',
    'build_context',
    'entropy',
    'label_tasks',
    'leads',
    'read_genotype',
    'region_descriptors',
]
