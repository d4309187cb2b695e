// Rotary position embedding, with its derivative by what is turned.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "error.h"
#include "kernels.h"
#include "tensors.h"

namespace {

// Tokens that a thread takes at a time, at least.
constexpr int64_t ROTATED_TOKENS = 16;

template <typename T>
void rotate_tokens(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool back, at::Tensor& y) {
  const Rotation<T> call = {x.size(2),
                            x.size(1),
                            x.size(3),
                            x.const_data_ptr<T>(),
                            x.stride(0),
                            x.stride(2),
                            x.stride(1),
                            cos.const_data_ptr<float>(),
                            sin.const_data_ptr<float>(),
                            cos.numel() / x.size(3),
                            back,
                            y.mutable_data_ptr<T>()};
  at::parallel_for(0, x.size(0) * x.size(2), ROTATED_TOKENS,
                   [&](int64_t begin, int64_t end) { rotate(call, begin, end); });
}

at::Tensor rotated(const at::Tensor& given, const at::Tensor& cos, const at::Tensor& sin, bool back) {
  const at::Tensor x = given.stride(3) == 1 ? given : given.contiguous();
  // A token's heads side by side, as layers take and attention reads them.
  at::Tensor y = at::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options());
  if (x.scalar_type() == at::kFloat) {
    rotate_tokens<float>(x, cos, sin, back, y);
  } else {
    rotate_tokens<at::BFloat16>(x, cos, sin, back, y);
  }
  return y.transpose(1, 2);
}

struct Rotary : torch::autograd::Function<Rotary> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    context->saved_data["narrow"] = x.scalar_type() == at::kBFloat16;
    return rotated(x, cos, sin, false);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].to(context->saved_data["narrow"].toBool() ? at::kBFloat16 : at::kFloat);
    return {rotated(gradient, saved[0], saved[1], true), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

// (rows, heads, tokens, width), turned by tables of (tokens, width) or (rows, 1, tokens, width) whose halves
// are alike. Null, without an error, where the kernel does not suit.
extern "C" int shim_rotate(const at::Tensor* x, const at::Tensor* cos, const at::Tensor* sin, at::Tensor** found) {
  try {
    *found = nullptr;
    const bool fits = x->dim() == 4 && x->numel() > 0 && x->size(3) % ATTENTION_LANES == 0 &&
                      cos->sizes() == sin->sizes() && is_plain(*cos) && is_plain(*sin);
    if (!is_float_or_bfloat16(*x) || !fits) return 0;
    const int64_t of_row = x->size(2) * x->size(3);
    if (cos->numel() != of_row && cos->numel() != x->size(0) * of_row) return 0;
    *found = new at::Tensor(Rotary::apply(*x, *cos, *sin));
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
