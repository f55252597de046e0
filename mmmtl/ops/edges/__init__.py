"""Edge maps: thinning, non-maximum suppression, and matching of predicted with labelled edges."""

from .matching import count_pairs, reachable_pixels
from .nms import edge_nms
from .thinning import thin

__all__ = ['count_pairs', 'edge_nms', 'reachable_pixels', 'thin']
