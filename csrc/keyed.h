// Random bits as a function of a key and a position.
#pragma once
#include <cstdint>

// One copy of a function for each level of vector instructions, chosen when it is loaded. Levels, not
// processors: a copy for one maker's processor is never taken on another's.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
// Whether a copy with wide vectors is taken here.
inline bool has_wide_vectors() { return __builtin_cpu_supports("avx2"); }
#else
#define FOR_EACH_CPU
inline bool has_wide_vectors() { return false; }
#endif

// For what those functions call: only what is inlined is compiled separately for each of them.
#define WITHIN inline __attribute__((always_inline))

#include "mask.h"
