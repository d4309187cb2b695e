// Layers in bfloat16 by AMX, Intel's instructions for tiles of 16 rows of 64 bytes. Activations stay in
// bfloat16 from one layer to the next; sums, statistics and what is between them are in float32. Like the
// other kernels, these know nothing of libtorch.
//
// Sums go over inputs in one order whatever the rows are, so that a row's bits depend on nothing but the
// row and the weight.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "../kernels.h"

// Whether the compiler knows them.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 11
#define HAS_TILE_INSTRUCTIONS
#endif
#endif

// A value's upper 16 bits in float32.
typedef uint16_t Narrow;

// A tile's rows, and its columns of sums; the inputs that one instruction multiplies.
constexpr int64_t TILE = 16, TILE_INPUTS = 32;
// Outputs that are computed together, two tiles side by side.
constexpr int64_t PANEL = 2 * TILE;

// Whether the processor has tiles for bfloat16, and the system lets this process use them.
bool has_tiles();

// What sizes are filled up to with zeros.
constexpr int64_t filled(int64_t size) { return (size + PANEL - 1) / PANEL * PANEL; }

// Panels of outputs.
constexpr int64_t panels_of(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }

// Values of a packed weight, in the order that tiles are loaded in, padded with zeros.
constexpr int64_t packed_size(int64_t outputs, int64_t inputs) {
  return panels_of(outputs) * PANEL * ((inputs + TILE_INPUTS - 1) / TILE_INPUTS * TILE_INPUTS);
}

// A weight in float32: that of output i and input j is scale * at[i * output + j * input], and one of the two
// steps is 1. It is rounded into packed_size(outputs, inputs) values.
struct Packing {
  int64_t outputs, inputs;
  const float* at;
  int64_t output, input;
  float scale;
  Narrow* to;
};

// Panels `begin` to `end` of outputs: what one thread does.
void pack_weight(const Packing& call, int64_t begin, int64_t end);

// Rows of `inputs`, a multiple of TILE_INPUTS, by a packed weight. All rows are contiguous.
struct TileTerm {
  int64_t inputs;
  const Narrow *x, *weight;
};

// What is made of a product's values.
struct TileActivation {
  enum Kind { NONE, GELU, GATE } kind = NONE;
  // Of the last.
  SigmoidGate gate = {};
};

// y = x Wᵀ + bias, or an activation of it, of rows of `inputs`, a multiple of TILE_INPUTS. All rows are contiguous.
struct TileProduct {
  int64_t inputs, outputs;
  const Narrow* x;
  // Packed.
  const Narrow* weight;
  // In float32, or null.
  const float* bias;
  Narrow* y;
  TileActivation activation = {};
  // Not null: the derivative of the activation beside it, for the way back.
  Narrow* slope = nullptr;
  // Not null: as many values that outputs are multiplied by, and others that are added then.
  const Narrow *factor = nullptr, *beside = nullptr;
  // Products of as many outputs that are added.
  std::vector<TileTerm> added = {};
};

// From `begin` up to and without `end`.
struct Range {
  int64_t begin, end;
};

// These rows of these panels of outputs: what one thread does.
void multiply(const TileProduct& call, Range rows, Range panels);

// As cross_entropy.cpp has it, of logits without a cap.
void narrow_cross_entropy(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end);

// In bfloat16, the residual in either kind.
void residual_norm(const ResidualNorm<Narrow>& call, int64_t begin, int64_t end);
void residual_norm(const ResidualNorm<Narrow, float>& call, int64_t begin, int64_t end);
void residual_norm_backward(const ResidualNormBackward<Narrow>& call, int64_t begin, int64_t end);
void residual_norm_backward(const ResidualNormBackward<Narrow, float>& call, int64_t begin, int64_t end);

// Activations by a sigmoid, values `begin` to `end`, of which `begin` is a multiple of TILE.
void narrow_gate_forward(const GateForward<c10::BFloat16>& call, int64_t begin, int64_t end);
void narrow_gate_backward(const GateBackward<c10::BFloat16>& call, int64_t begin, int64_t end);
