// The values of weights that are held in fewer bits. Each is one product of two floats, or none, so that it
// is the same at every level of instructions, however threads divide the work.
#include <algorithm>
#include <cstring>

#include "kernels.h"

// Of bitsandbytes, `nf4_dequantization_lut` (https://github.com/bitsandbytes-foundation/bitsandbytes).
const float NF4_VALUES[16] = {-1.0f,
                              -0.6961928009986877f,
                              -0.5250730514526367f,
                              -0.39491748809814453f,
                              -0.28444138169288635f,
                              -0.18477343022823334f,
                              -0.09105003625154495f,
                              0.0f,
                              0.07958029955625534f,
                              0.16093020141124725f,
                              0.24611230194568634f,
                              0.33791524171829224f,
                              0.44070982933044434f,
                              0.5626170039176941f,
                              0.7229568362236023f,
                              1.0f};

namespace {

// The two values of every byte.
struct Pairs {
  float of[256][2];
  Pairs() {
    for (int byte = 0; byte < 256; byte++) {
      of[byte][0] = NF4_VALUES[byte >> 4];
      of[byte][1] = NF4_VALUES[byte & 15];
    }
  }
};

FOR_EACH_CPU void of_nf4(const float (*pairs)[2], const uint8_t* codes, const float* scales, float* to, int64_t begin,
                         int64_t end) {
  int64_t at = begin;
  while (at < end) {
    const float scale = scales[at / NF4_BLOCK];
    const int64_t stop = std::min(end, (at / NF4_BLOCK + 1) * NF4_BLOCK);
    if (at % 2 == 1) to[at - begin] = pairs[codes[at / 2]][1] * scale, at++;
    for (; at + 1 < stop; at += 2) {
      const float* pair = pairs[codes[at / 2]];
      to[at - begin] = pair[0] * scale;
      to[at - begin + 1] = pair[1] * scale;
    }
    if (at < stop) to[at - begin] = pairs[codes[at / 2]][0] * scale, at++;
  }
}

FOR_EACH_CPU void of_int8(const int8_t* codes, const float* scales, int64_t columns, float* to, int64_t begin,
                          int64_t end) {
  int64_t at = begin;
  while (at < end) {
    const float scale = scales[at / columns];
    const int64_t stop = std::min(end, (at / columns + 1) * columns);
    for (; at < stop; at++) to[at - begin] = static_cast<float>(codes[at]) * scale;
  }
}

FOR_EACH_CPU void of_bfloat16(const uint16_t* codes, float* to, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at++) {
    const uint32_t bits = static_cast<uint32_t>(codes[at]) << 16;
    std::memcpy(to + (at - begin), &bits, sizeof bits);
  }
}

}  // namespace

void dequantise(const Quantised& weight, float* to, int64_t begin, int64_t end) {
  static const Pairs pairs;
  switch (weight.form) {
    case Form::BFLOAT16: return of_bfloat16(static_cast<const uint16_t*>(weight.codes), to, begin, end);
    case Form::INT8:
      return of_int8(static_cast<const int8_t*>(weight.codes), weight.scales, weight.columns, to, begin, end);
    case Form::NF4: return of_nf4(pairs.of, static_cast<const uint8_t*>(weight.codes), weight.scales, to, begin, end);
  }
}
