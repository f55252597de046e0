// The vector type of one instruction set and the two inner loops, on channels-last rows.
// Included once per instruction set, inside its namespace; VECTOR_BYTES and VECTOR_REGISTERS are set there.

constexpr int kQueries = 4;  // pixels that are computed together, so that each neighbour that is loaded serves several
// Accumulators must fit the registers: kQueries * kTaps in `dot`, kQueries * kVectors in `weighted_sum`.
constexpr int kTaps = VECTOR_REGISTERS >= 32 ? 5 : 2;
constexpr int kVectors = VECTOR_REGISTERS >= 32 ? 4 : 2;

template <class T> struct Simd;
template <> struct Simd<float> {
  typedef float Vec __attribute__((vector_size(VECTOR_BYTES)));
  typedef float Unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t Int __attribute__((vector_size(VECTOR_BYTES)));
};
template <> struct Simd<double> {
  typedef double Vec __attribute__((vector_size(VECTOR_BYTES)));
  typedef double Unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
};
template <class T> using Vec = typename Simd<T>::Vec;
template <class T> constexpr int kLanes = VECTOR_BYTES / sizeof(T);

template <class T> INLINE Vec<T> load(const T* p) { return *reinterpret_cast<const typename Simd<T>::Unaligned*>(p); }
template <class T> INLINE void store(T* p, Vec<T> x) { *reinterpret_cast<typename Simd<T>::Unaligned*>(p) = x; }
template <class T> INLINE Vec<T> splat(T x) { return x - Vec<T>{}; }
// Keeps a value that is used several times in a register; GCC would load it again for each use.
template <class V> INLINE V held(V x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#endif
  return x;
}
template <class V> INLINE V larger(V a, V b) { return a > b ? a : b; }

// Lane i of the result is lane Index::at(i, number of lanes) of a and b in a row.
template <class Index, class V, int... I> INLINE V shuffle(V a, V b, std::integer_sequence<int, I...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, Index::at(I, sizeof...(I))...);
#else
  typename Simd<float>::Int order = {Index::at(I, sizeof...(I))...};
  return __builtin_shuffle(a, b, order);
#endif
}
struct UnpackLow { static constexpr int at(int i, int n) { return i / 4 * 4 + i % 4 / 2 + i % 2 * n; } };
struct UnpackHigh { static constexpr int at(int i, int n) { return UnpackLow::at(i, n) + 2; } };
struct PairsLow { static constexpr int at(int i, int n) { return i / 4 * 4 + i % 2 + i % 4 / 2 * n; } };
struct PairsHigh { static constexpr int at(int i, int n) { return PairsLow::at(i, n) + 2; } };
template <int By> struct Rotate { static constexpr int at(int i, int n) { return (i + By) % n; } };
template <class Index, class V> INLINE V shuffle(V a, V b) {
  return shuffle<Index>(a, b, std::make_integer_sequence<int, sizeof(V) / 4>{});
}

// out[0..3] = the sums over the lanes of a, b, c, d.
INLINE void reduce(Vec<float> a, Vec<float> b, Vec<float> c, Vec<float> d, float* out) {
  Vec<float> ab = shuffle<UnpackLow>(a, b) + shuffle<UnpackHigh>(a, b);  // a b a b in each group of four lanes
  Vec<float> cd = shuffle<UnpackLow>(c, d) + shuffle<UnpackHigh>(c, d);
  Vec<float> all = shuffle<PairsLow>(ab, cd) + shuffle<PairsHigh>(ab, cd);
  if constexpr (kLanes<float> >= 16) all += shuffle<Rotate<8>>(all, all);
  if constexpr (kLanes<float> >= 8) all += shuffle<Rotate<4>>(all, all);
  for (int i = 0; i < 4; ++i) out[i] = all[i];
}
INLINE void reduce(Vec<double> a, Vec<double> b, Vec<double> c, Vec<double> d, double* out) {
  out[0] = out[1] = out[2] = out[3] = 0;
  for (int i = 0; i < kLanes<double>; ++i) {
    out[0] += a[i];
    out[1] += b[i];
    out[2] += c[i];
    out[3] += d[i];
  }
}

// out[t * out_step + i] = here[i] . there[i + t] for kQueries pixels i and Taps neighbours t in one row.
template <class T, int Taps>
INLINE void dot(const T* here, int64_t here_step, const T* there, int64_t there_step, int64_t channels, T* out,
                int64_t out_step) {
  Vec<T> sums[kQueries][Taps] = {};
  for (int64_t c = 0; c < channels; c += kLanes<T>) {
    Vec<T> mine[kQueries];
    UNROLL for (int i = 0; i < kQueries; ++i) mine[i] = load(here + i * here_step + c);
    UNROLL for (int j = 0; j < kQueries + Taps - 1; ++j) {
      const Vec<T> neighbour = held(load(there + j * there_step + c));
      UNROLL for (int i = 0; i < kQueries; ++i)
        if (j - i >= 0 && j - i < Taps) sums[i][j - i] += mine[i] * neighbour;
    }
  }
  UNROLL for (int t = 0; t < Taps; ++t) reduce(sums[0][t], sums[1][t], sums[2][t], sums[3][t], out + t * out_step);
}

// As above for any number of taps.
template <class T>
INLINE void dots(const T* here, int64_t here_step, const T* there, int64_t there_step, int64_t channels, int64_t taps,
                 T* out, int64_t out_step) {
  for (int64_t parts = (taps + kTaps - 1) / kTaps, done = 0; parts > 0; --parts) {
    const int64_t now = (taps - done + parts - 1) / parts;
    const T* first = there + done * there_step;
    T* to = out + done * out_step;
    const auto part = [&](auto width) {
      dot<T, std::min(kTaps, width())>(here, here_step, first, there_step, channels, to, out_step);
    };
    switch (now) {
      case 5: part(std::integral_constant<int, 5>{}); break;
      case 4: part(std::integral_constant<int, 4>{}); break;
      case 3: part(std::integral_constant<int, 3>{}); break;
      case 2: part(std::integral_constant<int, 2>{}); break;
      default: part(std::integral_constant<int, 1>{});
    }
    done += now;
  }
}

// sums[i] += factors[t][i] * the neighbour j = i + t, for the pixels From <= i < To of a block.
template <class T, int Vectors, int From, int To>
INLINE void add(Vec<T> (&sums)[kQueries][Vectors], const T* neighbour, const T* factors, int64_t step, int64_t j) {
  Vec<T> x[Vectors];
  UNROLL for (int v = 0; v < Vectors; ++v) x[v] = held(load(neighbour + v * kLanes<T>));
  UNROLL for (int i = From; i < To; ++i) {
    const Vec<T> factor = held(splat(factors[(j - i) * step + i]));
    UNROLL for (int v = 0; v < Vectors; ++v) sums[i][v] += factor * x[v];
  }
}

// out[i] = sum over rows y and taps t of factors[y * taps + t][i] * rows[y][i + t], for kQueries pixels and Vectors
// vectors of channels. A row that is null adds nothing.
template <class T, int Vectors>
INLINE void weighted_sum(const T* factors, int64_t step, const T* const* rows, int64_t row_step, int64_t taps, T* out,
                         int64_t out_step, int64_t pixels) {
  Vec<T> sums[kQueries][Vectors] = {};
  for (int64_t y = 0; y < taps; ++y, factors += taps * step) {
    const T* x = rows[y];
    if (!x) continue;
    if (taps == 1) {
      add<T, Vectors, 0, 1>(sums, x, factors, step, 0);
      add<T, Vectors, 1, 2>(sums, x + row_step, factors, step, 1);
      add<T, Vectors, 2, 3>(sums, x + 2 * row_step, factors, step, 2);
      add<T, Vectors, 3, 4>(sums, x + 3 * row_step, factors, step, 3);
      continue;
    }
    add<T, Vectors, 0, 1>(sums, x, factors, step, 0);
    add<T, Vectors, 0, 2>(sums, x + row_step, factors, step, 1);
    add<T, Vectors, 0, 3>(sums, x + 2 * row_step, factors, step, 2);
    x += 3 * row_step;
    for (int64_t j = 3; j < taps; ++j, x += row_step) add<T, Vectors, 0, 4>(sums, x, factors, step, j);
    add<T, Vectors, 1, 4>(sums, x, factors, step, taps);
    add<T, Vectors, 2, 4>(sums, x + row_step, factors, step, taps + 1);
    add<T, Vectors, 3, 4>(sums, x + 2 * row_step, factors, step, taps + 2);
  }
  UNROLL for (int i = 0; i < kQueries; ++i)
    if (i < pixels)
      UNROLL for (int v = 0; v < Vectors; ++v) store(out + i * out_step + v * kLanes<T>, sums[i][v]);
}

// e to the x, for x <= 0 (relative error 1e-7); 0 where it would not be a normal number; NaN stays NaN.
INLINE Vec<float> exponential(Vec<float> x) {
  const Vec<float> lowest = splat(-87.33f);
  const auto tiny = x < lowest;
  x = tiny ? lowest : x;
  const Vec<float> shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the last bits are round(x / ln 2)
  const Vec<float> power = shifted - 12582912.0f;
  const Vec<float> r = x - power * 0.693359375f - power * -2.12194440e-4f;
  Vec<float> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Simd<float>::Int scale = ((Simd<float>::Int)shifted << 23) + 0x3f800000;  // casts of vectors keep the bits
  return tiny ? Vec<float>{} : p * (Vec<float>)scale;
}
INLINE Vec<double> exponential(Vec<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}
