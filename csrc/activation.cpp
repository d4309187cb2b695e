// Activations by a sigmoid, with their derivatives; see `SigmoidGate`.
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "error.h"
#include "kernels.h"
#include "tensors.h"

namespace {

// Values that a thread takes at a time, a multiple of every vector.
constexpr int64_t GATE_CHUNK = 4096;

template <typename Work>
void each_chunk(int64_t count, const Work& work) {
  at::parallel_for(0, (count + GATE_CHUNK - 1) / GATE_CHUNK, 4, [&](int64_t first, int64_t last) {
    work(first * GATE_CHUNK, std::min(last * GATE_CHUNK, count));
  });
}

template <typename T>
const T* given(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<T>() : nullptr;
}

template <typename T>
T* made(at::Tensor& x) {
  return x.defined() ? x.mutable_data_ptr<T>() : nullptr;
}

template <typename T>
void open_gate(SigmoidGate gate, const at::Tensor& x, const at::Tensor& gated, at::Tensor& y) {
  const GateForward<T> call = {gate, given<T>(x), given<T>(gated), made<T>(y)};
  each_chunk(x.numel(), [&](int64_t begin, int64_t end) { gate_forward(call, begin, end); });
}

template <typename T>
void open_gate_backward(SigmoidGate gate, const at::Tensor& x, const at::Tensor& gated, const at::Tensor& gradient,
                        at::Tensor& of_x, at::Tensor& of_gated) {
  const GateBackward<T> call = {gate,           given<T>(x),    given<T>(gated),
                                given<T>(gradient), made<T>(of_x), made<T>(of_gated)};
  each_chunk(x.numel(), [&](int64_t begin, int64_t end) { gate_backward(call, begin, end); });
}

struct Gate : torch::autograd::Function<Gate> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const std::optional<at::Tensor>& gated, double linear, double cubic) {
    const at::Tensor other = gated.value_or(at::Tensor());
    context->save_for_backward({x, other});
    context->saved_data["linear"] = linear;
    context->saved_data["cubic"] = cubic;
    at::Tensor y = at::empty_like(x);
    const auto compute = x.scalar_type() == at::kBFloat16 ? open_gate<at::BFloat16> : open_gate<float>;
    compute({static_cast<float>(linear), static_cast<float>(cubic)}, x, other, y);
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &gated = saved[1];
    const at::Tensor gradient = gradients[0].to(x.scalar_type()).contiguous();
    torch::autograd::variable_list found(4);
    for (size_t i = 0; i < 2; i++) {
      if (saved[i].defined() && context->needs_input_grad(i)) found[i] = at::empty_like(saved[i]);
    }
    const bool narrow = x.scalar_type() == at::kBFloat16;
    const auto compute = narrow ? open_gate_backward<at::BFloat16> : open_gate_backward<float>;
    const SigmoidGate gate = {static_cast<float>(context->saved_data["linear"].toDouble()),
                              static_cast<float>(context->saved_data["cubic"].toDouble())};
    compute(gate, x, gated, gradient, found[0], found[1]);
    return found;
  }
};

}  // namespace

// x sigmoid(linear x + cubic x^3), times `gated`, which may be null; null, without an error, where the
// kernel does not suit.
extern "C" int shim_sigmoid_gate(const at::Tensor* x, const at::Tensor* gated, double linear, double cubic,
                                 at::Tensor** found) {
  try {
    *found = nullptr;
    const bool fits = !gated || (gated->sizes() == x->sizes() && gated->scalar_type() == x->scalar_type());
    if (!is_float_or_bfloat16(*x) || !fits || (gated && !is_float_or_bfloat16(*gated))) return 0;
    const auto other = gated ? std::optional<at::Tensor>(gated->contiguous()) : std::nullopt;
    *found = new at::Tensor(Gate::apply(x->contiguous(), other, linear, cubic));
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
