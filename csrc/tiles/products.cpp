// Products by a weight that is packed into the order that tiles are loaded in.
#include "tiles.h"

#include <algorithm>

#ifdef HAS_TILE_INSTRUCTIONS
#include <sys/syscall.h>
#include <unistd.h>

#include "sigmoid.h"

namespace {

// Rows that are multiplied by all panels before the next ones are, so that they stay in the cache.
constexpr int64_t ROWS_AT_ONCE = 512;

// Of more inputs than these, what one panel has of them fills the cache: they are multiplied part by part,
// each by several panels, whose sums are kept.
constexpr int64_t MANY_INPUTS = 4096, INPUTS_OF_PART = 1024, ROWS_OF_PARTS = 256, PANELS_OF_PARTS = 16;

// A panel's sums of 32 rows, row by row.
constexpr int64_t SUMS = PANEL * PANEL;

// Rows whose outputs by a panel are still to be made of their sums; none at first.
struct Unfinished {
  const float* sums = nullptr;
  int64_t row = 0, rows = 0, column = 0;
};

// What an activation multiplies its input by, and the derivative of that.
struct Share {
  Floats value, slope;
};

WITHIN_TILES Share share_of(const TileActivation& activation, Floats y) {
  if (activation.kind == TileActivation::GELU) {
    const Normal there = normal(y);
    return {there.below, _mm512_mul_ps(there.bell, all(0.39894228f))};
  }
  const Sigmoid there = sigmoid_of(activation.gate, y);
  return {there.value, _mm512_mul_ps(_mm512_mul_ps(there.value, there.rest), polynomial(activation.gate, y, 3.0f))};
}

// One row's outputs in a tile.
WITHIN_TILES void finish(const TileProduct& call, int64_t row, int64_t column, Floats sums) {
  const __mmask16 mask = first(call.outputs - column);
  const int64_t at = row * call.outputs + column;
  Floats y = call.bias ? _mm512_add_ps(sums, _mm512_maskz_loadu_ps(mask, call.bias + column)) : sums;
  if (call.activation.kind != TileActivation::NONE) {
    const Share share = share_of(call.activation, y);
    if (call.slope) put(call.slope + at, _mm512_fmadd_ps(y, share.slope, share.value), mask);
    y = _mm512_mul_ps(y, share.value);
  }
  if (call.factor) y = _mm512_mul_ps(y, widen(call.factor + at, mask));
  if (call.beside) y = _mm512_add_ps(y, widen(call.beside + at, mask));
  put(call.y + at, y, mask);
}

// Of these rows, those from `begin` up to `end`.
WITHIN_TILES void finish(const TileProduct& call, const Unfinished& some, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < std::min(end, some.rows); i++) {
    for (int64_t j = 0; j < PANEL; j += TILE) {
      finish(call, some.row + i, some.column + j, _mm512_load_ps(some.sums + i * PANEL + j));
    }
  }
}

// Fetches what rows will be finished with: a panel's values of a row, which are next to none that was read.
WITHIN_TILES void fetch(const TileProduct& call, const Unfinished& some, int64_t begin, int64_t end) {
  if (!call.factor && !call.beside) return;
  for (int64_t i = begin; i < std::min(end, some.rows); i++) {
    const int64_t at = (some.row + i) * call.outputs + some.column;
    if (call.factor) _mm_prefetch(call.factor + at, _MM_HINT_T0);
    if (call.beside) _mm_prefetch(call.beside + at, _MM_HINT_T0);
  }
}

// Rows by a panel, over some of the inputs.
struct Block {
  const Narrow *x, *panel;
  int64_t inputs;
  float* sums;
  // Whether they are added to what is there.
  bool goes_on;
};

// 32 rows by as many outputs, over the inputs that one instruction multiplies; `width` values from a row to the
// next.
WITHIN_TILES void multiply_inputs(const Narrow* x, int64_t width, const Narrow* panel) {
  const int64_t bytes = width * sizeof(Narrow);
  _tile_loadd(4, x, bytes);
  _tile_loadd(6, panel, 64);
  _tile_dpbf16ps(0, 4, 6);
  _tile_loadd(7, panel + TILE_INPUTS * TILE, 64);
  _tile_dpbf16ps(1, 4, 7);
  _tile_loadd(5, x + TILE * width, bytes);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

// Meanwhile other rows are finished, and what its own need for that is fetched: tiles are multiplied by a unit of
// their own, which leaves those for vectors idle.
WITHIN_TILES void multiply_block(const TileProduct& call, const Block& block, const std::vector<TileTerm>& added,
                                 const Unfinished& own, const Unfinished& others) {
  constexpr int64_t STEP = PANEL * sizeof(float);
  float* sums = block.sums;
  if (block.goes_on) {
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
  const int64_t steps = block.inputs / TILE_INPUTS, rows = (PANEL + steps - 1) / steps;
  for (int64_t step = 0; step < steps; step++) {
    const Narrow* x = block.x + step * TILE_INPUTS;
    multiply_inputs(x, call.inputs, block.panel + step * TILE_INPUTS * PANEL);
    // A tile's rows lie too far apart for the processor to foresee them.
    for (int64_t i = 0; step + 1 < steps && i < PANEL; i++) {
      _mm_prefetch(x + i * call.inputs + TILE_INPUTS, _MM_HINT_T0);
    }
    fetch(call, own, step * rows, (step + 1) * rows);
    finish(call, others, step * rows, (step + 1) * rows);
  }
  for (const TileTerm& term : added) {
    for (int64_t at = 0; at < term.inputs; at += TILE_INPUTS) {
      multiply_inputs(term.x + at, term.inputs, term.weight + at * PANEL);
    }
  }
  _tile_stored(0, sums, STEP);
  _tile_stored(1, sums + TILE, STEP);
  _tile_stored(2, sums + TILE * PANEL, STEP);
  _tile_stored(3, sums + TILE * PANEL + TILE, STEP);
}

// Rows of a term, the last of which, where they are fewer than are multiplied at a time, have zeros behind them.
class RowsOfTerm {
  TileTerm term;
  int64_t begin;
  Values<Narrow> last;

 public:
  RowsOfTerm(const TileTerm& term, Range rows) : term(term), begin(rows.end - (rows.end - rows.begin) % PANEL) {
    if (begin == rows.end) return;
    last.resize(PANEL * term.inputs);
    const Narrow* from = term.x + begin * term.inputs;
    std::copy(from, from + (rows.end - begin) * term.inputs, last.begin());
  }

  const Narrow* at(int64_t row) const { return row < begin ? term.x + row * term.inputs : last.data(); }

  // A panel's part of the product of some rows.
  TileTerm of(int64_t row, int64_t panel) const {
    return {term.inputs, at(row), term.weight + panel * term.inputs * PANEL};
  }
};

// The work of a thread.
class Products {
  const TileProduct& call;
  const Range rows;
  const RowsOfTerm own;
  std::vector<RowsOfTerm> added;
  // Those of a block.
  std::vector<TileTerm> terms;
  // By the number of a block of a part; two that take turns, where there are no parts.
  Values<float> sums;
  Unfinished unfinished;

 public:
  Products(const TileProduct& call, Range rows)
      : call(call),
        rows(rows),
        own({call.inputs, call.x, call.weight}, rows),
        sums(blocks() * SUMS) {
    for (const TileTerm& term : call.added) added.emplace_back(term, rows);
  }

  bool has_parts() const { return call.inputs > MANY_INPUTS; }

  // Whose sums there is room for.
  int64_t blocks() const { return has_parts() ? ROWS_OF_PARTS / PANEL * PANELS_OF_PARTS : 2; }

  // These rows by these panels, over these inputs.
  WITHIN_TILES void multiply_part(Range some, Range panels, Range inputs) {
    int64_t at = 0;
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
      const Narrow* weight = call.weight + (panel * call.inputs + inputs.begin) * PANEL;
      for (int64_t row = some.begin; row < some.end; row += PANEL) {
        float* found = sums.data() + at++ % blocks() * SUMS;
        const bool goes_on = inputs.begin > 0, ends = inputs.end == call.inputs;
        terms.clear();
        for (size_t i = 0; ends && i < added.size(); i++) terms.push_back(added[i].of(row, panel));
        const Narrow* x = own.at(row) + inputs.begin;
        Unfinished made;
        if (ends) made = {found, row, std::min(PANEL, rows.end - row), panel * PANEL};
        multiply_block(call, {x, weight, inputs.end - inputs.begin, found, goes_on}, terms, made, unfinished);
        unfinished = made;
      }
    }
  }

  WITHIN_TILES void multiply(Range panels) {
    const int64_t rows_at_once = has_parts() ? ROWS_OF_PARTS : ROWS_AT_ONCE;
    const int64_t panels_at_once = has_parts() ? PANELS_OF_PARTS : panels.end - panels.begin;
    const int64_t inputs_at_once = has_parts() ? INPUTS_OF_PART : call.inputs;
    for (int64_t row = rows.begin; row < rows.end; row += rows_at_once) {
      const Range some = {row, std::min(row + rows_at_once, rows.end)};
      for (int64_t panel = panels.begin; panel < panels.end; panel += panels_at_once) {
        const Range together = {panel, std::min(panel + panels_at_once, panels.end)};
        for (int64_t input = 0; input < call.inputs; input += inputs_at_once) {
          multiply_part(some, together, {input, std::min(input + inputs_at_once, call.inputs)});
        }
      }
    }
    finish(call, unfinished, 0, PANEL);
  }
};

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
  Products(call, rows).multiply(panels);
}

#else

bool has_tiles() { return false; }
void multiply(const TileProduct&, Range, Range) {}

#endif
