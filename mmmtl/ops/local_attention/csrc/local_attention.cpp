// The C interface, free of Python and PyTorch, so that one library serves every version of them.
#include "standard.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace mmmtl {

#define DECLARE(name)                              \
  namespace name {                                 \
  void run_forward(const Forward&, double scale);  \
  void run_backward(const Backward&, double scale); \
  }
DECLARE(generic)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#endif

// Asks for huge pages under a large dense tensor that is about to be written: at 33 MB the page faults of fresh memory
// cost more than the kernel. Only a hint; smaller tensors come from memory that is used again.
inline void expect_writes(const Tensor& tensor, const Problem& p, int64_t channels) {
#if defined(MADV_HUGEPAGE)
  const uintptr_t huge = 2 << 20, start = reinterpret_cast<uintptr_t>(tensor.data);
  const uintptr_t element = tensor.dtype == kFloat64 ? 8 : tensor.dtype == kFloat32 ? 4 : 2;
  const uintptr_t size = p.images * channels * p.height * p.width * element;
  const uintptr_t first = (start + huge - 1) / huge * huge, last = (start + size) / huge * huge;
  if (size >= 4 * huge) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)tensor, (void)p, (void)channels;
#endif
}

}  // namespace mmmtl

extern "C" {

// Raised with every change of what is passed: a library of another number is not used.
int mmmtl_local_attention_interface() { return 1; }

// instruction_set: 0 generic, 1 AVX2, 2 AVX-512; the caller asks the processor.
void mmmtl_local_attention_forward(const mmmtl::Forward* f, double scale, int instruction_set) {
  mmmtl::expect_writes(f->out, f->problem, f->problem.depth);
#if defined(__x86_64__)
  if (instruction_set == 2) return mmmtl::avx512::run_forward(*f, scale);
  if (instruction_set == 1) return mmmtl::avx2::run_forward(*f, scale);
#endif
  mmmtl::generic::run_forward(*f, scale);
}

void mmmtl_local_attention_backward(const mmmtl::Backward* b, double scale, int instruction_set) {
  mmmtl::expect_writes(b->grad_query, b->problem, b->problem.channels);
  mmmtl::expect_writes(b->grad_key, b->problem, b->problem.channels);
  mmmtl::expect_writes(b->grad_value, b->problem, b->problem.depth);
#if defined(__x86_64__)
  if (instruction_set == 2) return mmmtl::avx512::run_backward(*b, scale);
  if (instruction_set == 1) return mmmtl::avx2::run_backward(*b, scale);
#endif
  mmmtl::generic::run_backward(*b, scale);
}

}
