// What NVRTC, which has no headers, is told first.
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef int int32_t;
typedef unsigned long long uint64_t;
typedef long long int64_t;
#define WITHIN __device__ __forceinline__

WITHIN uint32_t bits_of(float x) { return __float_as_uint(x); }
WITHIN float float_of_bits(uint32_t bits) { return __uint_as_float(bits); }
WITHIN float float_of_half(uint16_t bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
WITHIN uint16_t half_of(float x) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
WITHIN float exponential(float x) { return expf(x); }
WITHIN float larger(float x, float y) { return fmaxf(x, y); }
