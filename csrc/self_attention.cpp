// Self-attention whose probabilities may be dropped, with its derivatives, on a CPU: in float32 by wide
// vectors, in bfloat16 by tiles.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "error.h"
#include "kernels.h"
#include "tiles/attention.h"

namespace {

// How a kernel's numbers lie in a tensor, and how many tokens it keeps probabilities of.
template <typename T>
struct Numbers;

template <>
struct Numbers<float> {
  static constexpr at::ScalarType KIND = at::kFloat;
  static const float* of(const at::Tensor& x) { return x.const_data_ptr<float>(); }
  static float* to(at::Tensor& x) { return x.mutable_data_ptr<float>(); }
  static int64_t kept(int64_t tokens) { return padded(tokens); }
};

template <>
struct Numbers<Narrow> {
  static constexpr at::ScalarType KIND = at::kBFloat16;
  static const Narrow* of(const at::Tensor& x) { return values(x); }
  static Narrow* to(at::Tensor& x) { return new_values(x); }
  static int64_t kept(int64_t tokens) { return filled(tokens); }
};

template <typename T>
Heads<const T> heads_of(const at::Tensor& x) {
  return {Numbers<T>::of(x), x.stride(0), x.stride(1)};
}

template <typename T>
Heads<T> new_heads_of(at::Tensor& x) {
  return {Numbers<T>::to(x), x.stride(0), x.stride(1)};
}

Shape shape_of(const at::Tensor& query, const at::Tensor& key, int64_t heads, bool causal) {
  return {query.size(0), heads,  query.size(2) / heads,        query.size(1),
          key.size(1),   causal, query.size(2) / key.size(2)};
}

// Each head of each row, or each that they share, is computed by one thread, from the same values in the
// same order.
template <typename Call>
void each_head(const Call& call, int64_t shared_by, void (*kernel)(const Call&, int64_t, int64_t)) {
  at::parallel_for(0, call.shape.rows * call.shape.heads / shared_by, 1,
                   [&](int64_t begin, int64_t end) { kernel(call, begin, end); });
}

template <typename T>
struct SelfAttention : torch::autograd::Function<SelfAttention<T>> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value, const std::optional<at::Tensor>& bias, int64_t heads,
                            bool causal, int64_t seed, int64_t threshold) {
    const Shape shape = shape_of(query, key, heads, causal);
    at::Tensor output = at::empty({shape.rows, shape.queries, shape.hidden()}, query.options());
    at::Tensor probabilities =
        at::empty({shape.rows * shape.heads, shape.queries, Numbers<T>::kept(shape.tokens)}, query.options());
    const Key drawn = {static_cast<uint64_t>(seed), static_cast<uint32_t>(threshold)};
    each_head<AttentionForward<T>>({shape, drawn, heads_of<T>(query), heads_of<T>(key), heads_of<T>(value),
                                    floats(bias), Numbers<T>::to(probabilities), new_heads_of<T>(output)},
                                   1, attention_forward);
    context->save_for_backward({query, key, value, probabilities});
    context->saved_data["heads"] = heads;
    context->saved_data["causal"] = causal;
    context->saved_data["seed"] = seed;
    context->saved_data["threshold"] = threshold;
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &query = saved[0], &key = saved[1], &value = saved[2], &probabilities = saved[3];
    const at::Tensor gradient = gradients[0].to(Numbers<T>::KIND).contiguous();
    torch::autograd::variable_list found(8);
    Heads<T> places[3] = {};
    for (size_t i = 0; i < 3; i++) {
      if (!context->needs_input_grad(i)) continue;
      found[i] = at::empty(saved[i].sizes(), saved[i].options());
      places[i] = new_heads_of<T>(found[i]);
    }
    const Key drawn = {static_cast<uint64_t>(context->saved_data["seed"].toInt()),
                       static_cast<uint32_t>(context->saved_data["threshold"].toInt())};
    const Shape shape =
        shape_of(query, key, context->saved_data["heads"].toInt(), context->saved_data["causal"].toBool());
    each_head<AttentionBackward<T>>({shape, drawn, heads_of<T>(query), heads_of<T>(key), heads_of<T>(value),
                                     heads_of<T>(gradient), Numbers<T>::of(probabilities), places[0], places[1],
                                     places[2]},
                                    shape.groups, attention_backward);
    return found;
  }
};

// Whether these are queries, keys and values of one kind on a CPU, in heads that are whole vectors, with a
// bias of each row's keys or none.
template <typename T>
bool are_attended(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                  const std::optional<at::Tensor>& bias, int64_t heads, bool causal) {
  static_assert(ATTENTION_LANES == TILE, "both kernels take heads of the same widths");
  const auto plain = [](const at::Tensor& x) {
    return x.dim() == 3 && x.device().is_cpu() && x.scalar_type() == Numbers<T>::KIND && x.stride(-1) == 1;
  };
  if (!plain(query) || !plain(key) || !plain(value)) return false;
  if (heads < 1 || query.size(2) % (heads * TILE) != 0 || key.size(1) == 0) return false;
  const int64_t width = query.size(2) / heads, shared = key.size(2) / width;
  const bool divides = shared > 0 && key.size(2) % width == 0 && heads % shared == 0;
  const bool fits = key.size(0) == query.size(0) && divides && key.sizes() == value.sizes();
  const bool covered = !bias || (bias->device().is_cpu() && bias->numel() == key.size(0) * key.size(1));
  return fits && covered && (!causal || query.size(1) <= key.size(1));
}

// Whether the kernel in float32 computes this.
bool suits_vectors(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                   const std::optional<at::Tensor>& bias, int64_t heads, bool causal) {
  return has_wide_vectors() && are_attended<float>(query, key, value, bias, heads, causal) &&
         (!bias || (bias->scalar_type() == at::kFloat && bias->is_contiguous()));
}

// Whether the kernel for tiles computes this.
bool suits_tiles(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                 const std::optional<at::Tensor>& bias, int64_t heads, bool causal) {
  return narrows() && are_attended<Narrow>(query, key, value, bias, heads, causal);
}

}  // namespace

// Null, without an error, where no kernel suits the values.
extern "C" int shim_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value,
                              const at::Tensor* bias, int64_t heads, bool causal, uint64_t seed,
                              uint32_t threshold, at::Tensor** found) {
  try {
    *found = nullptr;
    const auto added = maybe(bias);
    const auto apply = [&](auto kernel, const std::optional<at::Tensor>& of_keys) {
      *found = new at::Tensor(kernel(*query, *key, *value, of_keys, heads, causal, static_cast<int64_t>(seed),
                                     static_cast<int64_t>(threshold)));
    };
    if (suits_tiles(*query, *key, *value, added, heads, causal)) {
      const auto wide = added ? std::optional<at::Tensor>(added->to(at::kFloat).contiguous()) : std::nullopt;
      apply([](const auto&... given) { return SelfAttention<Narrow>::apply(given...); }, wide);
    } else if (suits_vectors(*query, *key, *value, added, heads, causal)) {
      apply([](const auto&... given) { return SelfAttention<float>::apply(given...); }, added);
    } else if (threshold > 0 && suits_gpu(*query, *key, *value, added, heads, causal)) {
      apply(attend_on_gpu, added);
    }
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
