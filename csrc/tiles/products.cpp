// Products by a frozen weight, which is packed once into the order that tiles are loaded in.
#include "tiles.h"

#include <algorithm>
#include <cstring>

namespace {

Narrow rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return 0x7fc0;
  return static_cast<Narrow>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

// By panels of outputs, in each by blocks of inputs, in each two tiles: pairs of inputs by outputs.
void pack_weight(const float* from, int64_t row, int64_t column, int64_t outputs, int64_t inputs, Narrow* to) {
  for (int64_t panel = 0; panel < outputs; panel += PANEL) {
    for (int64_t block = 0; block < inputs; block += TILE_INPUTS) {
      for (int64_t tile = panel; tile < panel + PANEL; tile += TILE) {
        for (int64_t pair = block; pair < block + TILE_INPUTS; pair += 2) {
          for (int64_t i = tile; i < tile + TILE; i++) {
            for (int64_t j = pair; j < pair + 2; j++) {
              *to++ = i < outputs && j < inputs ? rounded(from[i * row + j * column]) : 0;
            }
          }
        }
      }
    }
  }
}

#ifdef HAS_TILE_INSTRUCTIONS
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "vectors.h"

namespace {

// What is multiplied together, so that what is read again is read from caches.
constexpr int64_t ROWS_AT_ONCE = 256, PANELS_AT_ONCE = 16, INPUTS_AT_ONCE = 1024;

// A panel's sums of 32 rows, row by row.
constexpr int64_t SUMS = PANEL * PANEL;

// Sums over `inputs` of 32 rows, `step` values apart, by a panel; added to what is there if they go on.
WITHIN_TILES void multiply_block(const Narrow* x, int64_t step, int64_t inputs, const Narrow* panel, float* sums,
                                 bool goes_on) {
  constexpr int64_t STEP = PANEL * sizeof(float);
  if (goes_on) {
    _tile_loadd(0, sums, STEP);
    _tile_loadd(1, sums + TILE, STEP);
    _tile_loadd(2, sums + TILE * PANEL, STEP);
    _tile_loadd(3, sums + TILE * PANEL + TILE, STEP);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const int64_t bytes = step * sizeof(Narrow);
  for (int64_t input = 0; input < inputs; input += TILE_INPUTS) {
    _tile_loadd(4, x + input, bytes);
    _tile_loadd(6, panel + input * PANEL, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, panel + input * PANEL + TILE_INPUTS * TILE, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, x + TILE * step + input, bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, STEP);
  _tile_stored(1, sums + TILE, STEP);
  _tile_stored(2, sums + TILE * PANEL, STEP);
  _tile_stored(3, sums + TILE * PANEL + TILE, STEP);
}

// One row's outputs in a tile.
WITHIN_TILES void finish(const TileProduct& call, int64_t row, int64_t column, Floats sums, Floats bias, __mmask16 mask) {
  const int64_t at = row * call.outputs + column;
  const Floats y = _mm512_add_ps(sums, bias);
  put(call.y + at, y, mask);
  if (call.activated) put(call.activated + at, _mm512_mul_ps(y, normal(y).below), mask);
}

// Where a line of the cache begins, at these values or behind them.
float* aligned(float* values) {
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(values) + 63) / 64 * 64);
}

// A panel's outputs of `rows` rows from their sums.
WITHIN_TILES void finish_block(const TileProduct& call, int64_t column, int64_t row, int64_t rows, const float* sums) {
  const __mmask16 masks[2] = {first(call.outputs - column), first(call.outputs - column - TILE)};
  Floats biases[2] = {};
  for (int half = 0; half < 2 && call.bias; half++) {
    biases[half] = _mm512_maskz_loadu_ps(masks[half], call.bias + column + half * TILE);
  }
  for (int64_t i = 0; i < rows; i++) {
    for (int half = 0; half < 2; half++) {
      const Floats sum = _mm512_load_ps(sums + i * PANEL + half * TILE);
      finish(call, row + i, column + half * TILE, sum, biases[half], masks[half]);
    }
  }
}

// The last rows, where they are fewer than are multiplied at a time, with zeros behind them.
struct LastRows {
  int64_t begin;
  std::vector<Narrow> values;

  LastRows(const TileProduct& call, Range rows) : begin(rows.end - (rows.end - rows.begin) % PANEL) {
    if (begin == rows.end) return;
    values.resize(PANEL * call.inputs);
    const Narrow* from = call.x + begin * call.inputs;
    std::copy(from, from + (rows.end - begin) * call.inputs, values.begin());
  }

  const Narrow* at(const TileProduct& call, int64_t row) const {
    return row < begin ? call.x + row * call.inputs : values.data();
  }
};

// Rows and panels that are multiplied together, by some inputs after the others. `sums` has room for those
// of all blocks, or of one where all inputs are multiplied at once.
WITHIN_TILES void multiply_together(const TileProduct& call, Range rows, Range panels, const LastRows& last,
                                    float* sums) {
  const int64_t blocks = call.inputs > INPUTS_AT_ONCE ? ROWS_AT_ONCE / PANEL : 0;
  for (int64_t begin = 0; begin < call.inputs; begin += INPUTS_AT_ONCE) {
    const int64_t inputs = std::min(INPUTS_AT_ONCE, call.inputs - begin);
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
      const Narrow* weight = call.weight + (panel * call.inputs + begin) * PANEL;
      float* own = sums + (panel - panels.begin) * blocks * SUMS;
      for (int64_t row = rows.begin; row < rows.end; row += PANEL) {
        multiply_block(last.at(call, row) + begin, call.inputs, inputs, weight, own, begin > 0);
        if (begin + inputs == call.inputs) {
          finish_block(call, panel * PANEL, row, std::min(PANEL, rows.end - row), own);
        }
        if (blocks > 0) own += SUMS;
      }
    }
  }
}

}  // namespace

bool has_tiles() {
  static const bool found = [] {
    if (!__builtin_cpu_supports("avx512bf16")) return false;
    unsigned a = 7, b = 0, c = 0, d = 0;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    const bool bfloat16 = d >> 22 & 1, tiles = d >> 24 & 1;
    // ARCH_REQ_XCOMP_PERM of XFEATURE_XTILEDATA: the system has to make room for tiles where it saves
    // a thread's registers.
    return bfloat16 && tiles && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  }();
  return found;
}

WITH_TILES void multiply(const TileProduct& call, Range rows, Range panels) {
  const FullTiles tiles;
  const LastRows last(call, rows);
  const bool at_once = call.inputs <= INPUTS_AT_ONCE;
  alignas(64) float of_block[SUMS];
  std::vector<float> of_blocks(at_once ? 0 : ROWS_AT_ONCE / PANEL * PANELS_AT_ONCE * SUMS + TILE);
  float* sums = at_once ? of_block : aligned(of_blocks.data());
  for (int64_t row = rows.begin; row < rows.end; row += ROWS_AT_ONCE) {
    const Range some = {row, std::min(row + ROWS_AT_ONCE, rows.end)};
    for (int64_t panel = panels.begin; panel < panels.end; panel += PANELS_AT_ONCE) {
      multiply_together(call, some, {panel, std::min(panel + PANELS_AT_ONCE, panels.end)}, last, sums);
    }
  }
}

WITH_TILES void gelu_backward(const Narrow* x, const Narrow* gradient, Narrow* found, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += TILE) {
    const __mmask16 mask = first(end - at);
    const Floats value = widen(x + at, mask);
    const Normal there = normal(value);
    // Φ(x) + x φ(x)
    const Floats density = _mm512_mul_ps(there.bell, all(0.39894228f));
    const Floats slope = _mm512_fmadd_ps(value, density, there.below);
    put(found + at, _mm512_mul_ps(slope, widen(gradient + at, mask)), mask);
  }
}

#else

bool has_tiles() { return false; }
void multiply(const TileProduct&, Range, Range) {}
void gelu_backward(const Narrow*, const Narrow*, Narrow*, int64_t, int64_t) {}

#endif
