// For x86-64 with AVX2 with fused multiply-add.
#include "standard.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define NAMESPACE avx2
#define VECTOR_BYTES 32
#define VECTOR_REGISTERS 16
#include "instruction_set.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
