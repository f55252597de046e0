"""One-to-one matching of nearby boundary pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def reachable_pixels(prediction: NDArray[Any], label: NDArray[Any], distance: float) -> csr_array:
    """Find the pairs of pixels of two boundary maps (H, W) bool that are at most `distance` pixels apart.

    Returns a (P, L) matrix with an entry for each pair. Rows are the predicted pixels and columns the labelled ones,
    both in the order of `np.nonzero`.
    """
    from scipy.sparse import csr_array  # slow to import, and only this metric needs it
    from scipy.spatial import KDTree

    if prediction.shape != label.shape:
        raise ValueError(f'boundary maps must have the same size, not {prediction.shape} and {label.shape}')
    predicted, labelled = KDTree(np.argwhere(prediction)), KDTree(np.argwhere(label))
    pairs = predicted.sparse_distance_matrix(labelled, distance, output_type='coo_matrix')
    return csr_array((np.ones(pairs.nnz, dtype=np.int8), (pairs.row, pairs.col)), shape=(predicted.n, labelled.n))


def count_pairs(reachable: csr_array) -> int:
    """Return the largest number of pairs of reachable rows and columns with each row and column in at most one pair.

    It is computed as the maximum flow from a source through rows and columns to a sink, with capacities of 1.

    Deviation: the Berkeley benchmark minimizes a cost. A pair costs its distance, at most d, and a pixel without a
    partner costs 100 d. One more pair saves 100 d, so the number of pairs is the same, except where gaining a pair
    makes a chain of 100 or more pairs change partners and adds more than 100 d to their distances. The benchmark also
    chooses its graph's edges to outliers at random. Its counts are therefore equal or slightly lower.

    Reference: Martin, Fowlkes and Malik, Learning to detect natural image boundaries using local brightness, color,
    and texture cues, PAMI 26(5), 2004, and `correspondPixels` of the benchmark.

    Examples:
        >>> prediction, label = np.eye(3, dtype=bool), np.eye(3, k=1, dtype=bool)
        >>> count_pairs(reachable_pixels(prediction, label, distance=1.0))
        2
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_flow

    # scipy's maximum_bipartite_matching takes minutes for some of these graphs.
    rows, columns = reachable.shape
    source, sink = 0, rows + columns + 1
    # The edges that leave the source, each row, each column and the sink.
    heads = np.concatenate([1 + np.arange(rows), 1 + rows + reachable.indices, np.full(columns, sink)])
    ends = [rows + reachable.indptr, rows + reachable.nnz + 1 + np.arange(columns), [len(heads)]]
    starts = np.concatenate([[0], *ends])
    edges = (np.ones(len(heads), dtype=np.int32), heads.astype(np.int32), starts.astype(np.int32))
    return int(maximum_flow(csr_matrix(edges, shape=(sink + 1, sink + 1)), source, sink, method='dinic').flow_value)
