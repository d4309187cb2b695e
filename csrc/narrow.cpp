// Layers in bfloat16 by the kernels for tiles, with their derivatives. Weights are frozen; what comes in
// and goes out, gradients included, is in bfloat16.
#include <functional>

#include "tensors.h"
#include "tiles/tiles.h"

namespace {

// Rows of `width` values side by side.
int64_t rows_of(const at::Tensor& x) { return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1); }

const Narrow* values(const at::Tensor& x) { return reinterpret_cast<const Narrow*>(x.const_data_ptr<at::BFloat16>()); }

Narrow* new_values(at::Tensor& x) { return reinterpret_cast<Narrow*>(x.mutable_data_ptr<at::BFloat16>()); }

const float* floats(const std::optional<at::Tensor>& x) { return x ? x->const_data_ptr<float>() : nullptr; }

// Each row is computed by one thread, from the same values in the same order.
template <typename Work>
void each_row(int64_t rows, const Work& work) {
  at::parallel_for(0, (rows + PANEL - 1) / PANEL, 1, [&](int64_t begin, int64_t end) {
    work(begin * PANEL, std::min(end * PANEL, rows));
  });
}

// Threads share the panels of all calls, which have as many each as `panels_of_call` says.
template <typename Call, typename Count, typename Work>
void each_panel(const std::vector<Call>& calls, const Count& panels_of_call, const Work& work) {
  int64_t all = 0;
  for (const Call& call : calls) all += panels_of_call(call);
  at::parallel_for(0, all, 1, [&](int64_t begin, int64_t end) {
    int64_t before = 0;
    for (const Call& call : calls) {
      const int64_t own = panels_of_call(call);
      const int64_t from = std::max<int64_t>(begin - before, 0), to = std::min(end - before, own);
      if (from < to) work(call, from, to);
      before += own;
    }
  });
}

at::Tensor like(const at::Tensor& x, int64_t width) {
  auto sizes = x.sizes().vec();
  sizes.back() = width;
  return at::empty(sizes, x.options());
}

// What is done with rows `begin` to `end`.
using OfRows = std::function<void(int64_t, int64_t)>;

// The rows of one matrix by all outputs of a packed weight.
void multiply_all(const TileProduct& call, int64_t begin, int64_t end) {
  multiply(call, {begin, end}, {0, panels_of(call.outputs)});
}

// Whether there are rows enough for all threads to have their part.
bool are_many(int64_t rows) { return rows >= 4 * PANEL * at::get_num_threads(); }

// Products of as many rows. Threads share the rows, or, where these are few, the outputs. A value is the same
// either way. Each row is prepared before, and finished afterwards.
void share(const std::vector<TileProduct>& calls, int64_t rows, const OfRows& prepare = {}, const OfRows& finish = {}) {
  if (are_many(rows)) {
    return each_row(rows, [&](int64_t begin, int64_t end) {
      if (prepare) prepare(begin, end);
      for (const TileProduct& call : calls) multiply_all(call, begin, end);
      if (finish) finish(begin, end);
    });
  }
  if (prepare) each_row(rows, prepare);
  each_panel(
      calls, [](const TileProduct& call) { return panels_of(call.outputs); },
      [&](const TileProduct& call, int64_t begin, int64_t end) { multiply(call, {0, rows}, {begin, end}); });
  if (finish) each_row(rows, finish);
}

// Products each of what the one before it makes.
void share_in_turn(const std::vector<TileProduct>& calls, int64_t rows, const OfRows& prepare = {},
                   const OfRows& finish = {}) {
  if (are_many(rows)) return share(calls, rows, prepare, finish);
  for (size_t i = 0; i < calls.size(); i++) {
    share({calls[i]}, rows, i == 0 ? prepare : OfRows(), i + 1 == calls.size() ? finish : OfRows());
  }
}

// The call of a product of rows that are contiguous.
TileProduct product_of(const at::Tensor& x, const at::Tensor& packed, const std::optional<at::Tensor>& bias,
                       at::Tensor& y) {
  return {x.size(-1), y.size(-1), values(x), values(packed), floats(bias), new_values(y)};
}

// What goes into a layer for the gradient that comes back: x itself, as one more of its outputs, whose gradient
// is then added where that by x is made, rather than in a pass of its own. Without a gradient, or in another
// kind than what is computed, x stays as it is.
at::Tensor* passed_on(const at::Tensor& x, const at::Tensor& as_output) {
  return new at::Tensor(x.requires_grad() && x.scalar_type() == at::kBFloat16 ? as_output : x);
}

// Weights that are packed together.
class Packings {
  std::vector<Packing> calls;
  // What these read.
  std::vector<at::Tensor> held;

 public:
  // A place for a weight of (outputs, inputs) in float32, however it lies, times a number.
  at::Tensor add(const at::Tensor& weight, double scale = 1.0) {
    const bool is_near = weight.stride(0) == 1 || weight.stride(1) == 1;
    const at::Tensor from = is_near ? weight : weight.contiguous();
    const int64_t outputs = from.size(0), inputs = from.size(1);
    at::Tensor packed = at::empty({packed_size(outputs, inputs)}, from.options().dtype(at::kBFloat16));
    calls.push_back({outputs, inputs, from.const_data_ptr<float>(), from.stride(0), from.stride(1),
                     static_cast<float>(scale), new_values(packed)});
    held.push_back(from);
    return packed;
  }

  // Fills all places.
  void pack() const {
    each_panel(calls, [](const Packing& call) { return panels_of(call.outputs); }, pack_weight);
  }
};

// Whether this thread computes in bfloat16 on a CPU that has tiles.
bool narrows() {
  return has_tiles() && at::autocast::is_autocast_enabled(at::kCPU) &&
         at::autocast::get_autocast_dtype(at::kCPU) == at::kBFloat16;
}

void check_linear(const at::Tensor& x, const at::Tensor* bias, int64_t inputs, int64_t outputs) {
  TORCH_CHECK(x.dim() > 0 && x.size(-1) == inputs && x.device().is_cpu(), "a layer of ", inputs,
              " inputs has no use for ", x.sizes(), " on ", x.device());
  TORCH_CHECK(!bias || (is_plain(*bias) && bias->numel() == outputs), "a bias of ", outputs, " values is not ",
              bias->sizes(), " of ", bias->scalar_type());
}

std::optional<at::Tensor> maybe(const at::Tensor* tensor) {
  return tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt;
}

}  // namespace

extern "C" bool shim_narrows() { return narrows(); }

// With zeros behind its outputs and its inputs up to whole panels. Null, without an error, where the kernels
// do not suit the weight or the processor.
extern "C" int shim_pack_weight(const at::Tensor* weight, at::Tensor** found) {
  try {
    *found = nullptr;
    const bool suits = has_tiles() && weight->device().is_cpu() && weight->scalar_type() == at::kFloat &&
                       weight->dim() == 2 && weight->numel() > 0;
    if (!suits) return 0;
    Packings packings;
    const at::Tensor packed = packings.add(*weight);
    packings.pack();
    *found = new at::Tensor(packed);
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
