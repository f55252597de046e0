// Compiles the kernels for one instruction set: set NAMESPACE, VECTOR_BYTES and VECTOR_REGISTERS, then include this.

#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 16")

namespace mmmtl {
namespace NAMESPACE {

inline constexpr int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
#include "micro.h"
#include "rows.h"
#include "passes.h"

void run_forward(const Forward& f, double scale) {
  f.problem.in_double ? forward<double>(f, scale) : forward<float>(f, scale);
}
void run_backward(const Backward& b, double scale) {
  b.problem.in_double ? backward<double>(b, scale) : backward<float>(b, scale);
}

}  // namespace NAMESPACE
}  // namespace mmmtl
