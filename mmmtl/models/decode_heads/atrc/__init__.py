"""The parts of ATRC's decoder."""

from .context import GlobalContext, LabelContext, LocalContext, build_context, region_descriptors
from .fusion import ContextFusion
from .genotype import CONTEXTS, label_tasks, read_genotype

__all__ = [
    'CONTEXTS',
    'ContextFusion',
    'GlobalContext',
    'LabelContext',
    'LocalContext',
    'build_context',
    'label_tasks',
    'read_genotype',
    'region_descriptors',
]
