// What Python hands over: shapes, and tensors as pointer, strides and dtype; half precision as bits.
#pragma once

#include <cstdint>
#include <cstring>

namespace mmmtl {

enum Dtype : int64_t { kFloat64 = 0, kFloat32 = 1, kBFloat16 = 2, kFloat16 = 3 };

// A tensor (N, C, H, W) with any strides, counted in elements.
struct Tensor {
  void* data;
  int64_t image, channel, row, column;
  int64_t dtype;
};

// N images, C channels of query and key, V channels of value, H x W map, L side of the window.
struct Problem {
  int64_t images, height, width, channels, depth, window;
  int64_t zero_border;  // 0: neighbours outside take no part; 1: they take part with logit 0 and value 0
  int64_t in_double;    // sums in float64 instead of float32
  int64_t threads;
};

// Factors (the weights, or the gradients of the logits) are (N, L*L, H, W), contiguous, float32 or float64.
struct Forward {
  Problem problem;
  Tensor query, key, value, out;
  void* weights;
};

struct Backward {
  Problem problem;
  Tensor grad, query, key, value, grad_query, grad_key, grad_value;
  void* weights;
  void* grad_logits;
};

struct BFloat16 { uint16_t bits; };
struct Float16 { uint16_t bits; };

inline uint32_t bits_of(float x) { uint32_t u; std::memcpy(&u, &x, 4); return u; }
inline float float_of(uint32_t u) { float x; std::memcpy(&x, &u, 4); return x; }

}  // namespace mmmtl
