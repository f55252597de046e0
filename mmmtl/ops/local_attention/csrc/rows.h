// Rows of pixels between tensors of any layout and dtype and channels-last scratch memory in the accumulation type.
// Included once per instruction set, inside its namespace.

INLINE float widen(float x) { return x; }
INLINE double widen(double x) { return x; }
INLINE float widen(BFloat16 x) { return float_of(static_cast<uint32_t>(x.bits) << 16); }
INLINE float widen(Float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  const uint32_t rest = static_cast<uint32_t>(x.bits & 0x7fff) << 13;
  const float normal = float_of(rest + ((rest >= 0x0f800000 ? 255 - 31 : 127 - 15) << 23));  // 31 is inf or NaN
  const float subnormal = float_of(rest + (113 << 23)) - float_of(113 << 23);
  return float_of(sign | bits_of(rest < 0x00800000 ? subnormal : normal));
}

INLINE void narrow(double x, double& to) { to = x; }
INLINE void narrow(double x, float& to) { to = static_cast<float>(x); }
INLINE void narrow(float x, float& to) { to = x; }
INLINE void narrow(float x, BFloat16& to) {  // to nearest, ties to even
  const uint32_t u = bits_of(x), rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  to.bits = static_cast<uint16_t>((u & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}
INLINE void narrow(float x, Float16& to) {  // to nearest, ties to even
  const uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;
  const uint32_t normal = (rest - ((127 - 15) << 23) + 0xfff + (rest >> 13 & 1)) >> 13;
  const uint32_t subnormal = bits_of(float_of(rest) + 0.5f) - bits_of(0.5f);  // the addition rounds at 2^-24
  const uint32_t finite = rest < 0x38800000 ? subnormal : normal;
  const uint32_t large = rest > 0x7f800000 ? 0x7e00 : 0x7c00;  // NaN, or infinity from 65520 on
  to.bits = static_cast<uint16_t>(sign | (rest >= 0x477ff000 ? large : finite));
}
template <class To> INLINE void narrow(double x, To& to) { narrow(static_cast<float>(x), to); }

template <class F> INLINE void with_dtype(int64_t dtype, F f) {
  switch (dtype) {
    case kFloat64: f(double{}); break;
    case kFloat32: f(float{}); break;
    case kBFloat16: f(BFloat16{}); break;
    default: f(Float16{});
  }
}

constexpr int64_t kTile = 16;  // channels of a tile, in transposing

// Writes pixels x0 <= x < x1 of row y to `to`, `step` apart; zeros for those outside the map and for the channels from
// `channels` to `step`.
template <class T>
NOINLINE void read_row(const Tensor& from, int64_t image, int64_t y, int64_t x0, int64_t x1, int64_t width,
                       int64_t channels, T* to, int64_t step) {
  const int64_t first = std::min(std::max<int64_t>(x0, 0), x1), last = std::max(std::min(x1, width), first);
  std::fill(to, to + (first - x0) * step, T{});
  std::fill(to + (last - x0) * step, to + (x1 - x0) * step, T{});
  to += (first - x0) * step;
  const int64_t pixels = last - first, sc = from.channel, sx = from.column;
  with_dtype(from.dtype, [&](auto kind) {
    using S = decltype(kind);
    const S* source = static_cast<const S*>(from.data) + image * from.image + y * from.row + first * sx;
    if (sc == 1) {
      for (int64_t x = 0; x < pixels; ++x)
        for (int64_t c = 0; c < channels; ++c) to[x * step + c] = widen(source[x * sx + c]);
    } else {
      for (int64_t c0 = 0; c0 < channels; c0 += kTile)
        for (int64_t x = 0; x < pixels; ++x)
          for (int64_t c = c0; c < std::min(c0 + kTile, channels); ++c)
            to[x * step + c] = widen(source[c * sc + x * sx]);
    }
  });
  if (step > channels)
    for (int64_t x = 0; x < pixels; ++x) std::fill(to + x * step + channels, to + (x + 1) * step, T{});
}

// The reverse, for pixels inside the map.
template <class T>
NOINLINE void write_row(const Tensor& to, int64_t image, int64_t y, int64_t x0, int64_t pixels, int64_t channels,
                        const T* from, int64_t step) {
  const int64_t sc = to.channel, sx = to.column;
  with_dtype(to.dtype, [&](auto kind) {
    using S = decltype(kind);
    S* target = static_cast<S*>(to.data) + image * to.image + y * to.row + x0 * sx;
    if (sc == 1) {
      for (int64_t x = 0; x < pixels; ++x)
        for (int64_t c = 0; c < channels; ++c) narrow(from[x * step + c], target[x * sx + c]);
    } else {
      for (int64_t c0 = 0; c0 < channels; c0 += kTile)
        for (int64_t c = c0; c < std::min(c0 + kTile, channels); ++c)
          for (int64_t x = 0; x < pixels; ++x) narrow(from[x * step + c], target[c * sc + x * sx]);
    }
  });
}

// Pixel (image, y, x) of a channels-last tensor of T whose channels fill whole vectors: no scratch row is needed.
template <class T> INLINE T* in_place(const Tensor& tensor, int64_t image, int64_t y, int64_t x, int64_t channels) {
  const bool same = tensor.dtype == (sizeof(T) == 8 ? kFloat64 : kFloat32);
  if (!same || tensor.channel != 1 || channels % kLanes<T> != 0) return nullptr;
  return static_cast<T*>(tensor.data) + image * tensor.image + y * tensor.row + x * tensor.column;
}
