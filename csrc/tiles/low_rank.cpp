#include "low_rank.h"

#ifdef HAS_TILE_INSTRUCTIONS
#include "vectors.h"

namespace {

// 16 values of a row, each in the lower half of 32 bits; zeros of one that is not there.
WITHIN_TILES __m512i halves(const FactorGradient& call, int64_t row, int64_t column) {
  if (row >= call.rows) return _mm512_setzero_si512();
  const Narrow* from = call.wide + row * call.width + column;
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

// Rows two by two, a panel of their columns side by side, (filled(rows) / 2, PANEL, 2).
WITHIN_TILES void pair_panel(const FactorGradient& call, int64_t column, Narrow* to) {
  for (int64_t row = 0; row < filled(call.rows); row += 2) {
    for (int64_t at = 0; at < PANEL; at += TILE) {
      const __m512i lower = _mm512_slli_epi32(halves(call, row + 1, column + at), 16);
      _mm512_storeu_si512(to + row * PANEL + 2 * at, _mm512_or_si512(halves(call, row, column + at), lower));
    }
  }
}

// The sums of 32 of the change's rows by a panel of columns, (PANEL, PANEL).
WITHIN_TILES void multiply_pairs(const FactorGradient& call, int64_t rank, const Narrow* pairs, float* sums) {
  constexpr int64_t PAIRS = 2 * PANEL * sizeof(Narrow), SUMS = PANEL * sizeof(float);
  const Narrow* turned = call.turned + rank * call.step;
  const int64_t bytes = call.step * sizeof(Narrow);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t row = 0; row < filled(call.rows); row += TILE_INPUTS) {
    const Narrow* both = pairs + row * PANEL;
    _tile_loadd(4, turned + row, bytes);
    _tile_loadd(6, both, PAIRS);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, both + 2 * TILE, PAIRS);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, turned + TILE * call.step + row, bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, SUMS);
  _tile_stored(1, sums + TILE, SUMS);
  _tile_stored(2, sums + TILE * PANEL, SUMS);
  _tile_stored(3, sums + TILE * PANEL + TILE, SUMS);
}

}  // namespace

WITH_TILES void turn_rows(const Narrow* from, int64_t width, Range rows, Narrow* to, int64_t step) {
  for (int64_t i = rows.begin; i < rows.end; i += TILE) turn(from + i * width, TILE, width, to + i, step);
}

WITH_TILES void add_dropped(const Narrow* x, Narrow* y, int64_t at, int64_t count, Key key) {
  for (int64_t i = 0; i < count; i += TILE) {
    put(y + i, _mm512_fmadd_ps(widen(x + i), factors(key, at + i), widen(y + i)));
  }
}

WITH_TILES void factor_gradient(const FactorGradient& call, int64_t begin, int64_t end) {
  const FullTiles tiles;
  Values<Narrow> pairs(filled(call.rows) * PANEL);
  Values<float> sums(PANEL * PANEL);
  for (int64_t column = begin * PANEL; column < end * PANEL; column += PANEL) {
    pair_panel(call, column, pairs.data());
    for (int64_t rank = 0; rank < call.rank; rank += PANEL) {
      multiply_pairs(call, rank, pairs.data(), sums.data());
      for (int64_t i = 0; i < std::min(PANEL, call.rank - rank); i++) {
        float* to = call.to + (rank + i) * call.row + column * call.column;
        for (int64_t j = 0; j < PANEL; j++) to[j * call.column] = call.scale * sums[i * PANEL + j];
      }
    }
  }
}

#else

void turn_rows(const Narrow*, int64_t, Range, Narrow*, int64_t) {}
void add_dropped(const Narrow*, Narrow*, int64_t, int64_t, Key) {}
void factor_gradient(const FactorGradient&, int64_t, int64_t) {}

#endif
