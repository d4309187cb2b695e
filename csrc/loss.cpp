// The loss of a language model. Its gradient is computed along with it, so that nothing here has a
// derivative.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "error.h"
#include "kernels.h"

namespace {

template <typename T>
void each_token(const at::Tensor& logits, const at::Tensor& tokens, bool with_gradient, float cap, float smoothing,
                at::Tensor& own, at::Tensor& all) {
  const CrossEntropy<T> call = {logits.size(1),
                                logits.stride(0),
                                logits.mutable_data_ptr<T>(),
                                with_gradient,
                                tokens.const_data_ptr<int64_t>(),
                                cap,
                                smoothing,
                                own.mutable_data_ptr<float>(),
                                all.defined() ? all.mutable_data_ptr<float>() : nullptr};
  at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) { cross_entropy(call, begin, end); });
}

}  // namespace

// What the loss needs of logits, (rows, vocabulary), whose place the gradient takes if it is wanted; see
// `CrossEntropy`. `own` is null, without an error, where the kernel does not suit; `all` without smoothing.
extern "C" int shim_cross_entropy(const at::Tensor* logits, const at::Tensor* tokens, bool with_gradient, float cap,
                                  float smoothing, at::Tensor** own, at::Tensor** all) {
  try {
    *own = *all = nullptr;
    const bool narrow = logits->scalar_type() == at::kBFloat16;
    if (!logits->device().is_cpu() || !(narrow || logits->scalar_type() == at::kFloat)) return 0;
    TORCH_CHECK(logits->dim() == 2 && logits->stride(1) == 1 && !logits->requires_grad(),
                "logits of ", logits->sizes(), " are not rows without a graph");
    const at::Tensor expected = tokens->contiguous();
    TORCH_CHECK(expected.dim() == 1 && expected.size(0) == logits->size(0) && expected.scalar_type() == at::kLong,
                "rows of ", logits->sizes(), " logits have no tokens of ", expected.sizes());
    const int64_t* values = expected.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < expected.size(0); i++) {
      TORCH_CHECK(values[i] >= 0 && values[i] < logits->size(1), "token ", values[i], " is not among ",
                  logits->size(1));
    }
    const auto kind = logits->options().dtype(at::kFloat);
    at::Tensor found = at::empty({logits->size(0)}, kind);
    at::Tensor sums = smoothing > 0.0f ? at::empty({logits->size(0)}, kind) : at::Tensor();
    const auto compute = narrow ? each_token<at::BFloat16> : each_token<float>;
    compute(*logits, expected, with_gradient, cap, smoothing, found, sums);
    *own = new at::Tensor(std::move(found));
    if (sums.defined()) *all = new at::Tensor(std::move(sums));
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
