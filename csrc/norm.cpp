// Norms over the last dimension, with their derivatives by what is normed; weights are frozen.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "error.h"
#include "kernels.h"
#include "tensors.h"
#include "tiles/tiles.h"

namespace {

// Rows that a thread takes at a time, at least.
constexpr int64_t NORM_ROWS = 16;

template <typename In, typename Out>
void norm_rows(const at::Tensor& x, const at::Tensor& weight, float eps, float offset, at::Tensor& y,
               at::Tensor& inverse) {
  const RmsNormForward<In, Out> call = {x.size(-1),
                                        eps,
                                        offset,
                                        weight.const_data_ptr<float>(),
                                        x.const_data_ptr<In>(),
                                        y.mutable_data_ptr<Out>(),
                                        inverse.mutable_data_ptr<float>()};
  at::parallel_for(0, inverse.numel(), NORM_ROWS, [&](int64_t begin, int64_t end) { rms_norm(call, begin, end); });
}

template <typename In, typename Out>
void norm_rows_backward(const at::Tensor& x, const at::Tensor& weight, float offset, const at::Tensor& inverse,
                        const at::Tensor& gradient, at::Tensor& of_x) {
  const RmsNormBackward<In, Out> call = {x.size(-1),
                                         offset,
                                         weight.const_data_ptr<float>(),
                                         x.const_data_ptr<In>(),
                                         inverse.const_data_ptr<float>(),
                                         gradient.const_data_ptr<Out>(),
                                         of_x.mutable_data_ptr<In>()};
  at::parallel_for(0, inverse.numel(), NORM_ROWS,
                   [&](int64_t begin, int64_t end) { rms_norm_backward(call, begin, end); });
}

// Calls a function with a value of the kind of what goes in and one of what comes out.
template <typename Work>
void for_kinds(at::ScalarType from, at::ScalarType to, const Work& work) {
  if (from == at::kBFloat16) return work(at::BFloat16(), at::BFloat16());
  if (to == at::kBFloat16) return work(float(), at::BFloat16());
  work(float(), float());
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double eps, double offset, bool narrow) {
    const at::ScalarType kind = narrow ? at::kBFloat16 : x.scalar_type();
    at::Tensor y = at::empty(x.sizes(), x.options().dtype(kind));
    at::Tensor inverse = at::empty({x.numel() / x.size(-1)}, weight.options());
    for_kinds(x.scalar_type(), kind, [&](auto in, auto out) {
      norm_rows<decltype(in), decltype(out)>(x, weight, static_cast<float>(eps), static_cast<float>(offset), y, inverse);
    });
    context->save_for_backward({x, weight, inverse});
    context->saved_data["offset"] = offset;
    context->saved_data["narrow"] = kind == at::kBFloat16;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::ScalarType kind = context->saved_data["narrow"].toBool() ? at::kBFloat16 : at::kFloat;
    torch::autograd::variable_list found(5);
    found[0] = at::empty_like(x);
    const float offset = static_cast<float>(context->saved_data["offset"].toDouble());
    const at::Tensor gradient = gradients[0].to(kind).contiguous();
    for_kinds(x.scalar_type(), kind, [&](auto in, auto out) {
      norm_rows_backward<decltype(in), decltype(out)>(x, saved[1], offset, saved[2], gradient, found[0]);
    });
    return found;
  }
};

// Values as kernels have them.
template <typename T>
const T* read_as(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

template <typename T>
T* write_as(at::Tensor& x) {
  return x.defined() ? static_cast<T*>(x.mutable_data_ptr()) : nullptr;
}

template <typename T>
T* moved(T* values, int64_t by) {
  return values ? values + by : nullptr;
}

// The masks of batches whose rows lie one after the other: how many rows each has, and the seed of its mask.
struct RowMasks {
  std::vector<int64_t> rows, seeds;
  int64_t threshold;

  // Calls a function for each batch of which rows `begin` to `end` hold some: with its first row, the key of
  // its mask, and which of its own rows they are.
  template <typename Work>
  void within(int64_t begin, int64_t end, const Work& work) const {
    int64_t first = 0;
    for (size_t i = 0; i < rows.size(); i++) {
      const int64_t from = std::max(begin, first), to = std::min(end, first + rows[i]);
      const Key key = {static_cast<uint64_t>(seeds[i]), static_cast<uint32_t>(threshold)};
      if (from < to) work(first, key, from - first, to - first);
      first += rows[i];
    }
  }

  void save(torch::autograd::AutogradContext* context) const {
    context->saved_data["rows"] = rows;
    context->saved_data["seeds"] = seeds;
    context->saved_data["threshold"] = threshold;
  }

  static RowMasks saved(torch::autograd::AutogradContext* context) {
    auto& data = context->saved_data;
    return {data["rows"].toIntVector(), data["seeds"].toIntVector(), data["threshold"].toInt()};
  }
};

template <typename T>
constexpr at::ScalarType KIND = std::is_same_v<T, float> ? at::kFloat : at::kBFloat16;

// The norm of a residual sum over all rows: its kernel's call but for the key, which each batch has of its own.
template <typename T, typename R>
struct SumNorm {
  ResidualNorm<T, R> all;
  const RowMasks& masks;

  void compute(int64_t begin, int64_t end) const {
    masks.within(begin, end, [&](int64_t first, Key key, int64_t from, int64_t to) {
      const int64_t at = first * all.width;
      const ResidualNorm<T, R> call = {all.width, key, all.x + at, all.residual + at, all.weight, all.bias, all.eps,
                                       moved(all.sum, at), all.y + at, all.normed + at, all.inverse + first};
      residual_norm(call, from, to);
    });
  }
};

// The same backward.
template <typename T, typename R>
struct SumNormBackward {
  ResidualNormBackward<T, R> all;
  const RowMasks& masks;

  void compute(int64_t begin, int64_t end) const {
    masks.within(begin, end, [&](int64_t first, Key key, int64_t from, int64_t to) {
      const int64_t at = first * all.width;
      const ResidualNormBackward<T, R> call = {all.width, key, all.weight, all.normed + at, all.inverse + first,
                                               all.gradient + at, moved(all.gradient_of_sum, at), moved(all.of_x, at),
                                               moved(all.of_residual, at)};
      residual_norm_backward(call, from, to);
    });
  }
};

// The norm of a residual sum in T, and the sum itself in R if it is to be kept.
template <typename T, typename R>
struct NormOfSum : torch::autograd::Function<NormOfSum<T, R>> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                                                const at::Tensor& residual, const at::Tensor& weight,
                                                const std::optional<at::Tensor>& bias, double eps,
                                                const RowMasks& masks, bool keeps_sum) {
    const at::Tensor input = x.contiguous(), other = residual.contiguous();
    const int64_t width = input.size(-1), rows = input.numel() / width;
    at::Tensor y = at::empty_like(input), normed = at::empty_like(input);
    at::Tensor inverse = at::empty({rows}, weight.options());
    at::Tensor sum = keeps_sum ? at::empty_like(other) : at::Tensor();
    const SumNorm<T, R> norm = {{width, {}, read_as<T>(input), read_as<R>(other), read_as<float>(weight),
                                 bias ? read_as<float>(*bias) : nullptr, static_cast<float>(eps), write_as<R>(sum),
                                 write_as<T>(y), write_as<T>(normed), write_as<float>(inverse)},
                                masks};
    at::parallel_for(0, rows, NORM_ROWS, [&](int64_t begin, int64_t end) { norm.compute(begin, end); });
    context->save_for_backward({weight, normed, inverse});
    masks.save(context);
    return keeps_sum ? torch::autograd::variable_list{y, sum} : torch::autograd::variable_list{y};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::autograd::variable_list found(7);
    const auto saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].to(KIND<T>).contiguous();
    const at::Tensor beside = gradients.size() > 1 ? gradients[1].to(KIND<R>).contiguous() : at::Tensor();
    if (context->needs_input_grad(0)) found[0] = at::empty_like(gradient);
    if (context->needs_input_grad(1)) found[1] = at::empty_like(gradient, gradient.options().dtype(KIND<R>));
    const RowMasks masks = RowMasks::saved(context);
    const SumNormBackward<T, R> norm = {{gradient.size(-1), {}, read_as<float>(saved[0]), read_as<T>(saved[1]),
                                         read_as<float>(saved[2]), read_as<T>(gradient),
                                         beside.defined() ? read_as<R>(beside) : nullptr, write_as<T>(found[0]),
                                         write_as<R>(found[1])},
                                        masks};
    at::parallel_for(0, saved[2].numel(), NORM_ROWS, [&](int64_t begin, int64_t end) { norm.compute(begin, end); });
    return found;
  }
};

// Whether what is summed is in float32, outside of mixed precision.
bool are_floats(const at::Tensor& x, const at::Tensor& residual) {
  return x.scalar_type() == at::kFloat && residual.scalar_type() == at::kFloat &&
         !at::autocast::is_autocast_enabled(at::kCPU);
}

}  // namespace

// x / rms(x) (weight + offset), in bfloat16 if it is to be narrow, else in the kind of x. Null, without an
// error, where the kernel does not suit.
extern "C" int shim_rms_norm(const at::Tensor* x, const at::Tensor* weight, double eps, double offset, bool narrow,
                             at::Tensor** found) {
  try {
    *found = nullptr;
    const bool fits = x->dim() > 0 && weight->numel() == x->size(-1) && x->numel() > 0 &&
                      x->size(-1) % ATTENTION_LANES == 0;
    if (!is_float_or_bfloat16(*x) || !is_plain(*weight) || !fits) return 0;
    *found = new at::Tensor(RmsNorm::apply(x->contiguous(), *weight, eps, offset, narrow));
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}

// norm(drop(x) + residual), of batches of so many rows, each with a mask of its own; null, without an error,
// where the kernels do not suit. `bias` may be null, and so may `sum`, where the sum goes.
extern "C" int shim_residual_norm(const at::Tensor* x, const at::Tensor* residual, const at::Tensor* weight,
                                  const at::Tensor* bias, double eps, const int64_t* rows, const uint64_t* seeds,
                                  size_t count, uint32_t threshold, at::Tensor** found, at::Tensor** sum) {
  try {
    *found = nullptr;
    if (sum) *sum = nullptr;
    const bool fits = x->dim() > 0 && x->sizes() == residual->sizes() && x->numel() > 0 &&
                      x->size(-1) % ATTENTION_LANES == 0 && weight->numel() == x->size(-1) &&
                      (!bias || bias->numel() == x->size(-1));
    const bool known = is_float_or_bfloat16(*x) && residual->device().is_cpu() && is_plain(*weight) &&
                       (!bias || is_plain(*bias));
    if (!fits || !known) return 0;
    const auto added = maybe(bias);
    const RowMasks masks = {{rows, rows + count}, {seeds, seeds + count}, threshold};
    const bool is_narrow = x->scalar_type() == at::kBFloat16 && narrows();
    torch::autograd::variable_list made;
    if (are_floats(*x, *residual)) {
      made = NormOfSum<float, float>::apply(*x, *residual, *weight, added, eps, masks, sum != nullptr);
    } else if (is_narrow && sum && residual->scalar_type() == at::kFloat) {
      made = NormOfSum<Narrow, float>::apply(*x, *residual, *weight, added, eps, masks, true);
    } else if (is_narrow && (!sum || residual->scalar_type() == at::kBFloat16)) {
      made = NormOfSum<Narrow, Narrow>::apply(*x, residual->to(at::kBFloat16), *weight, added, eps, masks, sum != nullptr);
    }
    if (made.empty()) return 0;
    *found = new at::Tensor(made[0]);
    if (sum) *sum = new at::Tensor(made[1]);
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
