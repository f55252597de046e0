"""The Triton kernels of local attention, which only `triton_backend` imports.

A program owns a tile of pixels. It holds the products of its pixels with all neighbours of the tile, the halo, in
registers, so it reads each feature once per tile for any number of channels. Each pixel gathers its own gradients.
Tensors are passed as a pointer and strides (N, C, H, W).
"""

# Triton compiles no annotation of a parameter but its own.
# mypy: allow-untyped-defs, allow-incomplete-defs

import triton
import triton.language as tl


@triton.jit
def _tile(height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the image, top and left of this program's tile."""
    across = tl.cdiv(width, COLUMNS)
    down = tl.cdiv(height, ROWS)
    tile = tl.program_id(0)
    image = tile // (across * down)
    tile = tile % (across * down)
    return image.to(tl.int64), tile // across * ROWS, tile % across * COLUMNS


@triton.jit
def _pixels(top, left, ROWS: tl.constexpr, COLUMNS: tl.constexpr, height, width, INDEX: tl.constexpr):
    """Return y and x of ROWS * COLUMNS pixels, padded to a power of two, and which of them are in box and image."""
    number = tl.arange(0, triton.next_power_of_2(ROWS * COLUMNS))
    y = (top + number // COLUMNS).to(INDEX)
    x = (left + number % COLUMNS).to(INDEX)
    inside = (number < ROWS * COLUMNS) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return y, x, inside


@triton.jit
def _dot(here, here_strides, y, x, inside, there, there_strides, ny, nx, ninside, image, channels,
         CHUNK: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Return the sums over channels of pixel (rows) times neighbour (columns), float32; pixels outside count as 0."""
    total = tl.zeros((y.shape[0], ny.shape[0]), tl.float32)
    here += image * here_strides[0]
    there += image * there_strides[0]
    pixel = (y * here_strides[2] + x * here_strides[3])[:, None]
    neighbour = (ny * there_strides[2] + nx * there_strides[3])[None, :]
    for first in range(0, channels, CHUNK):
        c = (first + tl.arange(0, CHUNK)).to(y.dtype)
        known = c < channels
        a = tl.load(here + pixel + c[None, :] * here_strides[1], inside[:, None] & known[None, :], 0.0)
        b = tl.load(there + neighbour + c[:, None] * there_strides[1], ninside[None, :] & known[:, None], 0.0)
        total = tl.dot(a.to(DTYPE), b.to(DTYPE), total, input_precision=PRECISION)
    return total


@triton.jit
def _weighted_sum(factors, there, there_strides, ny, nx, ninside, out, out_strides, y, x, inside, image, channels,
                  CHUNK: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Store the sum over neighbours (columns) of factor times neighbour at each pixel (rows)."""
    if DTYPE.is_fp16():  # gradients of logits may exceed the range of float16
        largest = tl.max(tl.abs(factors), 1)
        largest = tl.where(largest > 0, largest, 1.0)
        factors /= largest[:, None]
    there += image * there_strides[0]
    out += image * out_strides[0]
    pixel = (y * out_strides[2] + x * out_strides[3])[:, None]
    neighbour = (ny * there_strides[2] + nx * there_strides[3])[:, None]
    for first in range(0, channels, CHUNK):
        c = (first + tl.arange(0, CHUNK)).to(y.dtype)
        known = (c < channels)[None, :]
        b = tl.load(there + neighbour + c[None, :] * there_strides[1], ninside[:, None] & known, 0.0)
        total = tl.dot(factors.to(DTYPE), b.to(DTYPE), input_precision=PRECISION)
        if DTYPE.is_fp16():
            total *= largest[:, None]
        total = total.to(out.dtype.element_ty)
        tl.store(out + pixel + c[None, :] * out_strides[1], total, inside[:, None] & known)


@triton.jit
def _stored_sum(factors, MIRRORED: tl.constexpr, there, there_strides, out, out_strides, y, x, inside, top, left,
                image, height, width, channels, WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
                STRIP: tl.constexpr, CHUNK: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Compute `_weighted_sum` for large halos: STRIP neighbours at a time, with factors from memory.

    MIRRORED: use the factors of the neighbours, as queries, for the pixel as their key.
    """
    there += image * there_strides[0]
    out += image * out_strides[0]
    factors += image * WINDOW * WINDOW * height * width
    pixel = (y * out_strides[2] + x * out_strides[3])[:, None]
    for first in range(0, channels, CHUNK):
        c = (first + tl.arange(0, CHUNK)).to(y.dtype)
        known = (c < channels)[None, :]
        total = tl.zeros((y.shape[0], CHUNK), tl.float32)
        for strip in range(0, (ROWS + WINDOW - 1) * (COLUMNS + WINDOW - 1), STRIP):
            number = strip + tl.arange(0, STRIP)
            ny = (top - WINDOW // 2 + number // (COLUMNS + WINDOW - 1)).to(y.dtype)
            nx = (left - WINDOW // 2 + number % (COLUMNS + WINDOW - 1)).to(y.dtype)
            ninside = (ny >= 0) & (ny < height) & (nx >= 0) & (nx < width)
            if MIRRORED:
                near, at = _taps(ny[None, :], nx[None, :], y[:, None], x[:, None], top, left, height, width, WINDOW)
            else:
                near, at = _taps(y[:, None], x[:, None], ny[None, :], nx[None, :], top, left, height, width, WINDOW)
            a = tl.load(factors + at, near & inside[:, None] & ninside[None, :], 0.0)
            neighbour = (ny * there_strides[2] + nx * there_strides[3])[:, None]
            b = tl.load(there + neighbour + c[None, :] * there_strides[1], ninside[:, None] & known, 0.0)
            total = tl.dot(a.to(DTYPE), b.to(DTYPE), total, input_precision=PRECISION)
        total = total.to(out.dtype.element_ty)
        tl.store(out + pixel + c[None, :] * out_strides[1], total, inside[:, None] & known)


@triton.jit
def _taps(y, x, ny, nx, top, left, height, width, WINDOW: tl.constexpr):
    """Return whether key (ny, nx) is in the window of query (y, x), and the offset of the pair's weight."""
    tap_y = ny - y + WINDOW // 2
    tap_x = nx - x + WINDOW // 2
    near = (tap_y >= 0) & (tap_y < WINDOW) & (tap_x >= 0) & (tap_x < WINDOW)
    # (tap_y * WINDOW + tap_x) * height * width + y * width + x, as one addition per pair.
    plane = height * width
    of_key = ((ny - top + WINDOW // 2) * WINDOW + nx - left + WINDOW // 2) * plane
    of_query = y * width + x - ((y - top) * WINDOW + x - left) * plane
    return near, of_key + of_query


@triton.jit
def forward_kernel(
    query, key, value, out, weights, query_strides, key_strides, value_strides, out_strides,
    height, width, channels, depth, scale, MASK: tl.constexpr, WINDOW: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr, STRIP: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Compute output and weights for a tile of queries; the halo holds the keys."""
    image, top, left = _tile(height, width, ROWS, COLUMNS)
    y, x, inside = _pixels(top, left, ROWS, COLUMNS, height, width, INDEX)
    ny, nx, ninside = _pixels(
        top - WINDOW // 2, left - WINDOW // 2, ROWS + WINDOW - 1, COLUMNS + WINDOW - 1, height, width, INDEX
    )
    logits = _dot(query, query_strides, y, x, inside, key, key_strides, ny, nx, ninside, image, channels,
                  CHUNK, DTYPE, PRECISION)  # fmt: skip
    near, at = _taps(y[:, None], x[:, None], ny[None, :], nx[None, :], top, left, height, width, WINDOW)
    near = near & inside[:, None]
    taking_part = near & ninside[None, :] if MASK else near
    logits = tl.where(taking_part, logits * scale, float('-inf'))
    largest = tl.where(inside, tl.max(logits, 1), 0.0)
    factors = tl.exp(logits - largest[:, None])
    factors /= tl.where(inside, tl.sum(factors, 1), 1.0)[:, None]
    tl.store(weights + image * WINDOW * WINDOW * height * width + at, factors, near)
    if STRIP:
        tl.debug_barrier()  # other threads of the program read what was stored
        _stored_sum(weights, False, value, value_strides, out, out_strides, y, x, inside, top, left, image,
                    height, width, depth, WINDOW, ROWS, COLUMNS, STRIP, CHUNK, DTYPE, PRECISION)  # fmt: skip
    else:
        _weighted_sum(factors, value, value_strides, ny, nx, ninside, out, out_strides, y, x, inside, image, depth,
                      CHUNK, DTYPE, PRECISION)  # fmt: skip


@triton.jit
def backward_query_kernel(
    grad, key, value, weights, grad_logits, grad_query, grad_strides, key_strides, value_strides, grad_query_strides,
    height, width, channels, depth, scale, WINDOW: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr, STRIP: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of logits and queries for a tile of queries; the halo holds the keys."""
    image, top, left = _tile(height, width, ROWS, COLUMNS)
    y, x, inside = _pixels(top, left, ROWS, COLUMNS, height, width, INDEX)
    ny, nx, ninside = _pixels(
        top - WINDOW // 2, left - WINDOW // 2, ROWS + WINDOW - 1, COLUMNS + WINDOW - 1, height, width, INDEX
    )
    grad_factors = _dot(grad, grad_strides, y, x, inside, value, value_strides, ny, nx, ninside, image, depth,
                        CHUNK, DTYPE, PRECISION)  # fmt: skip
    near, at = _taps(y[:, None], x[:, None], ny[None, :], nx[None, :], top, left, height, width, WINDOW)
    near = near & inside[:, None]
    planes = image * WINDOW * WINDOW * height * width
    factors = tl.load(weights + planes + at, near, 0.0)
    grad_factors -= tl.sum(factors * grad_factors, 1)[:, None]
    grad_factors *= factors * scale
    tl.store(grad_logits + planes + at, grad_factors, near)
    if STRIP:
        tl.debug_barrier()  # other threads of the program read what was stored
        _stored_sum(grad_logits, False, key, key_strides, grad_query, grad_query_strides, y, x, inside, top, left,
                    image, height, width, channels, WINDOW, ROWS, COLUMNS, STRIP, CHUNK, DTYPE, PRECISION)  # fmt: skip
    else:
        _weighted_sum(grad_factors, key, key_strides, ny, nx, ninside, grad_query, grad_query_strides, y, x, inside,
                      image, channels, CHUNK, DTYPE, PRECISION)  # fmt: skip


@triton.jit
def backward_key_value_kernel(
    grad, query, weights, grad_logits, grad_key, grad_value,
    grad_strides, query_strides, grad_key_strides, grad_value_strides,
    height, width, channels, depth, WINDOW: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr, STRIP: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of keys (second grid axis 0) or values (1) for a tile of keys; the halo has the queries."""
    image, top, left = _tile(height, width, ROWS, COLUMNS)
    y, x, inside = _pixels(top, left, ROWS, COLUMNS, height, width, INDEX)
    if STRIP:
        if tl.program_id(1) == 0:
            _stored_sum(grad_logits, True, query, query_strides, grad_key, grad_key_strides, y, x, inside, top, left,
                        image, height, width, channels, WINDOW, ROWS, COLUMNS, STRIP,
                        CHUNK, DTYPE, PRECISION)  # fmt: skip
        else:
            _stored_sum(weights, True, grad, grad_strides, grad_value, grad_value_strides, y, x, inside, top, left,
                        image, height, width, depth, WINDOW, ROWS, COLUMNS, STRIP,
                        CHUNK, DTYPE, PRECISION)  # fmt: skip
    else:
        ny, nx, ninside = _pixels(
            top - WINDOW // 2, left - WINDOW // 2, ROWS + WINDOW - 1, COLUMNS + WINDOW - 1, height, width, INDEX
        )
        near, at = _taps(ny[None, :], nx[None, :], y[:, None], x[:, None], top, left, height, width, WINDOW)
        near = near & inside[:, None] & ninside[None, :]
        planes = image * WINDOW * WINDOW * height * width
        if tl.program_id(1) == 0:
            factors = tl.load(grad_logits + planes + at, near, 0.0)
            _weighted_sum(factors, query, query_strides, ny, nx, ninside, grad_key, grad_key_strides, y, x, inside,
                          image, channels, CHUNK, DTYPE, PRECISION)  # fmt: skip
        else:
            factors = tl.load(weights + planes + at, near, 0.0)
            _weighted_sum(factors, grad, grad_strides, ny, nx, ninside, grad_value, grad_value_strides, y, x, inside,
                          image, depth, CHUNK, DTYPE, PRECISION)  # fmt: skip
