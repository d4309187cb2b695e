// What a layer with a low-rank change needs beside its products: y = x Wᵀ + drop(x) Aᵀ Bᵀ. Values that are
// as narrow as the change are (rows, rank), both filled up with zeros to whole panels.
#pragma once
#include "tiles.h"

// The transpose of some rows of `width` values: that of row i and column j is to[j * step + i].
void turn_rows(const Narrow* from, int64_t width, Range rows, Narrow* to, int64_t step);

// y += drop(x), of `count` values side by side, the first of which is at `at` in the mask, a multiple of four.
void add_dropped(const Narrow* x, Narrow* y, int64_t at, int64_t count, Key key);

// scale * thinᵀ wide, in float32: the gradient by a factor of the change.
struct FactorGradient {
  int64_t rows, rank, width;
  float scale;
  // The transpose of (rows, rank), filled up; `step` values from one of its rows to the next.
  const Narrow* turned;
  int64_t step;
  // (rows, width), the latter a multiple of PANEL.
  const Narrow* wide;
  // That of the change's row k and column j is to[k * row + j * column].
  float* to;
  int64_t row, column;
};

// Panels `begin` to `end` of the columns: what one thread does.
void factor_gradient(const FactorGradient& call, int64_t begin, int64_t end);
