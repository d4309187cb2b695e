// Which values dropout drops, as a function of a key and a position. Read by C++ compilers and by
// NVRTC, so it includes nothing: who includes it has the integers of <cstdint> and says what WITHIN is.
#pragma once

struct Key {
  uint64_t seed;
  // A value is dropped when its 16 bits are below this.
  uint32_t threshold;
  WITHIN double keep() const { return 1.0 - threshold / 65536.0; }
};

// SplitMix64 at a position of its sequence: Steele, Lea & Flood, Fast Splittable Pseudorandom
// Number Generators, 2014. A word holds the bits of four values.
WITHIN uint64_t splitmix(uint64_t seed, uint64_t position) {
  uint64_t z = seed + (position + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}
