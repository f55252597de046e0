// For x86-64 with AVX-512 (F, BW, DQ, VL).
#include "standard.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#endif
#define NAMESPACE avx512
#define VECTOR_BYTES 64
#define VECTOR_REGISTERS 32
#include "instruction_set.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
