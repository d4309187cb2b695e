// The arithmetic of dropout on a GPU: the four values of a word. Read by NVRTC, and by the C++
// compiler for the test that compares it with the CPU's. Who includes it says how bits become numbers:
// bits_of, float_of_bits, float_of_half and half_of.
#pragma once

// Narrow numbers by their bits.
struct Bfloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

WITHIN float widened(float x) { return x; }
WITHIN double widened(double x) { return x; }
WITHIN float widened(Bfloat16 x) { return float_of_bits(static_cast<uint32_t>(x.bits) << 16); }
WITHIN float widened(Float16 x) { return float_of_half(x.bits); }

WITHIN void narrow(float x, float& y) { y = x; }
WITHIN void narrow(double x, double& y) { y = x; }
// To the nearest, and of two the even one, as c10::BFloat16 does.
WITHIN void narrow(float x, Bfloat16& y) {
  const uint32_t bits = bits_of(x);
  y.bits = x != x ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
WITHIN void narrow(float x, Float16& y) { y.bits = half_of(x); }

template <typename T, typename Wide>
WITHIN void drop_word(const T* x, T* y, int64_t word, int64_t count, Key key, Wide scale) {
  const uint64_t bits = splitmix(key.seed, static_cast<uint64_t>(word));
  for (int i = 0; i < 4; i++) {
    const int64_t at = 4 * word + i;
    if (at >= count) return;
    const uint32_t draw = static_cast<uint32_t>(bits >> (16 * i)) & 0xffff;
    narrow(widened(x[at]) * (draw < key.threshold ? Wide(0) : scale), y[at]);
  }
}
