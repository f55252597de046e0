"""One-to-one matching of boundary pixels that lie near one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def reachable_pixels(prediction: np.ndarray, label: np.ndarray, distance: float) -> csr_array:
    """Which pixels of two boundary maps lie within a Euclidean distance of one another.

    Args:
        prediction: (H, W) bool.
        label: (H, W) bool.
        distance: in pixels, inclusive.

    Returns:
        (P, L) matrix with an entry for each such pair; rows are the predicted pixels, columns the labelled ones, both
        in the order of `np.nonzero`.

    Raises:
        ValueError: the two maps differ in size.
    """
    from scipy.sparse import csr_array  # takes a while to import, and only this metric needs it

    if prediction.shape != label.shape:
        raise ValueError(f'predicted and labelled boundaries differ in size: {prediction.shape} and {label.shape}')
    reach = int(distance)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    near = y**2 + x**2 <= distance**2
    # Numbers of the predicted pixels from 1, in a frame that no step can leave.
    numbers = np.where(prediction, prediction.cumsum(dtype=np.int32).reshape(prediction.shape), 0)
    numbers = np.pad(numbers, reach)
    rows, columns = np.nonzero(label)
    places = (rows + reach) * numbers.shape[1] + columns + reach
    found = numbers.reshape(-1)[places[:, None] + (y * numbers.shape[1] + x)[near]]
    hit = found > 0
    entries = (np.ones(np.count_nonzero(hit), dtype=np.int8), found[hit] - 1, np.append(0, hit.sum(axis=1).cumsum()))
    return csr_array(entries, shape=(len(places), np.count_nonzero(prediction))).T.tocsr()


def count_pairs(reachable: csr_array) -> int:
    """The most pairs that can be made of rows and columns that reach one another, each in one pair at most.

    It is the maximum flow from a source through rows and columns to a sink, with capacities of 1.

    Deviation: the Berkeley benchmark assigns pixels at least cost, where a pair costs its distance, at most d, and a
    pixel without partner 100 d. Having one pair more saves 100 d, so the number of pairs is the same unless the last
    ones would need a chain of 100 or more pairs to change partners and move apart by more than 100 d together; then
    the benchmark goes without. It also draws its graph's edges to the outliers at random. So its counts are these, or
    slightly lower.

    Reference: Martin, Fowlkes and Malik, Learning to detect natural image boundaries using local brightness, color,
    and texture cues, PAMI 26(5), 2004, and `correspondPixels` of the benchmark.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_flow

    # scipy's maximum_bipartite_matching, made for this, takes minutes for some of these graphs.
    rows, columns = reachable.shape
    source, sink = 0, rows + columns + 1
    # The edges of the source, of each row, of each column, of the sink.
    heads = np.concatenate([1 + np.arange(rows), 1 + rows + reachable.indices, np.full(columns, sink)])
    ends = [rows + reachable.indptr, rows + reachable.nnz + 1 + np.arange(columns), [len(heads)]]
    starts = np.concatenate([[0], *ends])
    edges = (np.ones(len(heads), dtype=np.int32), heads.astype(np.int32), starts.astype(np.int32))
    return int(maximum_flow(csr_matrix(edges, shape=(sink + 1, sink + 1)), source, sink, method='dinic').flow_value)
