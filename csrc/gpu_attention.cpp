// Self-attention on a GPU whose probabilities are dropped: two products by libtorch, and between them one
// kernel of our own each way. libtorch's fused kernels draw from its own generator, whose masks are not the
// CPU's.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "gpu/launch.h"

namespace {

ScoreRows scores_of(const at::Tensor& scores, const std::optional<at::Tensor>& bias, double scale, bool causal,
                    int64_t seed, int64_t threshold) {
  const Key key = {static_cast<uint64_t>(seed), static_cast<uint32_t>(threshold)};
  return {scores.size(1),
          scores.size(2),
          scores.size(3),
          bias ? bias->const_data_ptr<float>() : nullptr,
          key,
          static_cast<float>(scale),
          static_cast<float>(1.0 / key.keep()),
          causal};
}

struct DroppedProbabilities : torch::autograd::Function<DroppedProbabilities> {
  // Of scores (rows, heads, queries, tokens); the bias is (rows, 1, 1, tokens) in float32.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& given,
                            const std::optional<at::Tensor>& bias, double scale, bool causal, int64_t seed,
                            int64_t threshold) {
    const at::Tensor scores = given.contiguous();
    const int64_t rows = scores.numel() / scores.size(3);
    at::Tensor dropped = at::empty_like(scores);
    at::Tensor found = at::empty({rows, 2}, scores.options().dtype(at::kFloat));
    const std::string wrong =
        drop_rows_on_gpu(place_of(scores), *number_of(scores), scores_of(scores, bias, scale, causal, seed, threshold),
                         rows, scores.const_data_ptr(), dropped.mutable_data_ptr(), found.mutable_data_ptr<float>());
    TORCH_CHECK(wrong.empty(), wrong);
    context->save_for_backward({scores, found, bias ? *bias : at::Tensor()});
    context->saved_data["scale"] = scale;
    context->saved_data["causal"] = causal;
    context->saved_data["seed"] = seed;
    context->saved_data["threshold"] = threshold;
    return dropped;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &scores = saved[0], &found = saved[1];
    const auto bias = saved[2].defined() ? std::optional<at::Tensor>(saved[2]) : std::nullopt;
    const at::Tensor gradient = gradients[0].to(scores.scalar_type()).contiguous();
    at::Tensor by_scores = at::empty_like(scores);
    const ScoreRows all = scores_of(scores, bias, context->saved_data["scale"].toDouble(),
                                    context->saved_data["causal"].toBool(), context->saved_data["seed"].toInt(),
                                    context->saved_data["threshold"].toInt());
    const std::string wrong = drop_rows_back_on_gpu(place_of(scores), *number_of(scores), all,
                                                    scores.numel() / scores.size(3), scores.const_data_ptr(),
                                                    found.const_data_ptr<float>(), gradient.const_data_ptr(),
                                                    by_scores.mutable_data_ptr());
    TORCH_CHECK(wrong.empty(), wrong);
    return {by_scores, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// Whether these are queries, keys and values on a GPU with kernels, with a bias of each row's keys or none.
bool suits_gpu(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
               const std::optional<at::Tensor>& bias, int64_t heads, bool causal) {
  const auto plain = [](const at::Tensor& x) {
    return x.dim() == 3 && x.is_cuda() && x.is_floating_point() && x.scalar_type() != at::kDouble;
  };
  if (!plain(query) || !plain(key) || !plain(value) || !compiles_for_gpus()) return false;
  if (heads < 1 || query.size(2) % heads != 0 || key.size(1) == 0) return false;
  const bool one_width = key.size(0) == query.size(0) && key.size(2) == query.size(2) && key.sizes() == value.sizes();
  const bool covered = !bias || (bias->is_cuda() && bias->numel() == key.size(0) * key.size(1));
  return one_width && covered && (!causal || query.size(1) <= key.size(1));
}

at::Tensor attend_on_gpu(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const std::optional<at::Tensor>& bias, int64_t heads, bool causal, int64_t seed,
                         int64_t threshold) {
  const int64_t width = query.size(2) / heads;
  const auto split = [&](const at::Tensor& x) {
    return x.reshape({x.size(0), x.size(1), heads, width}).transpose(1, 2);
  };
  const auto wide = bias ? std::optional<at::Tensor>(bias->to(at::kFloat).contiguous()) : std::nullopt;
  const at::Tensor scores = at::matmul(split(query), split(key).transpose(2, 3));
  const at::Tensor dropped = DroppedProbabilities::apply(
      scores, wide, 1.0 / std::sqrt(static_cast<double>(width)), causal, seed, threshold);
  return at::matmul(dropped, split(value)).transpose(1, 2).reshape(query.sizes());
}

}  // namespace
