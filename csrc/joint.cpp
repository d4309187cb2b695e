// Dropout and attention with dropout of several batches whose tokens lie side by side, each drawn from
// its own key as if it were alone.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "error.h"
#include "kernels.h"

namespace {

template <typename T>
void drop_part(const at::Tensor& x, at::Tensor& y, int64_t begin, int64_t count, Key key) {
  const T* from = x.const_data_ptr<T>() + begin;
  T* to = y.mutable_data_ptr<T>() + begin;
  const int64_t chunks = (count + DROPOUT_CHUNK - 1) / DROPOUT_CHUNK;
  at::parallel_for(0, chunks, 128, [&](int64_t first, int64_t last) {
    drop(from, to, first * DROPOUT_CHUNK, std::min(last * DROPOUT_CHUNK, count), key);
  });
}

// Parts of the flattened values, one after the other, `counts` long, each by its own key.
at::Tensor drop_parts(const at::Tensor& values, const std::vector<int64_t>& counts,
                      const std::vector<int64_t>& seeds, uint32_t threshold) {
  const at::Tensor x = values.contiguous();
  at::Tensor y = at::empty_like(x);
  int64_t begin = 0;
  for (size_t part = 0; part < counts.size(); part++) {
    const int64_t count = counts[part];
    const Key key = {static_cast<uint64_t>(seeds[part]), threshold};
    if (x.device().is_cpu() && x.scalar_type() == at::kFloat) {
      drop_part<float>(x, y, begin, count, key);
    } else {
      const at::Tensor from = x.flatten().narrow(0, begin, count);
      y.flatten().narrow(0, begin, count).copy_(keyed_dropout(from, key));
    }
    begin += count;
  }
  return y;
}

// What is drawn for each part, kept for the backward pass.
struct Parts : torch::CustomClassHolder {
  std::vector<int64_t> counts, seeds;
  uint32_t threshold = 0;
};

template <typename T>
c10::intrusive_ptr<T> kept(torch::autograd::AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<T>(context->saved_data["kept"].toCapsule());
}

struct DropoutOfParts : torch::autograd::Function<DropoutOfParts> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const c10::intrusive_ptr<Parts>& parts) {
    context->saved_data["kept"] = c10::IValue::make_capsule(parts);
    return drop_parts(x, parts->counts, parts->seeds, parts->threshold);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto parts = kept<Parts>(context);
    return {drop_parts(gradients[0], parts->counts, parts->seeds, parts->threshold), at::Tensor()};
  }
};

// A batch among those that lie side by side: its rows, and the queries and keys of each.
struct BatchSizes {
  int64_t rows, queries, tokens;
};

// What attention of several batches is computed with, kept for the backward pass.
struct Batches : torch::CustomClassHolder {
  std::vector<BatchSizes> sizes;
  std::vector<int64_t> seeds;
  // Undefined where a batch has none.
  std::vector<at::Tensor> biases;
  int64_t heads = 1;
  // Query heads side by side that share a head of keys and values.
  int64_t groups = 1;
  bool causal = false;
  uint32_t threshold = 0;

  // Calls a function with each batch's shape, key, first query, first token and first probability.
  template <typename Function>
  void each(int64_t hidden, Function&& function) const {
    int64_t first_query = 0, first_token = 0, first_probability = 0;
    for (size_t at = 0; at < sizes.size(); at++) {
      const auto [rows, queries, tokens] = sizes[at];
      const Shape shape = {rows, heads, hidden / heads, queries, tokens, causal, groups};
      function(at, shape, Key{static_cast<uint64_t>(seeds[at]), threshold}, first_query, first_token,
               first_probability);
      first_query += rows * queries;
      first_token += rows * tokens;
      first_probability += rows * heads * queries * padded(tokens);
    }
  }

  int64_t probabilities() const {
    int64_t count = 0;
    for (const auto& [rows, queries, tokens] : sizes) count += rows * heads * queries * padded(tokens);
    return count;
  }
};

// The heads of a batch that begins at a token of (1, tokens of all batches, hidden).
template <typename T>
Heads<T> heads_of_batch(T* values, int64_t step, int64_t begin, int64_t tokens) {
  return {values + begin * step, tokens * step, step};
}

Heads<const float> given(const at::Tensor& x, int64_t begin, int64_t tokens) {
  return heads_of_batch(x.const_data_ptr<float>(), x.stride(1), begin, tokens);
}

Heads<float> made(at::Tensor& x, int64_t begin, int64_t tokens) {
  if (!x.defined()) return {};
  return heads_of_batch(x.mutable_data_ptr<float>(), x.stride(1), begin, tokens);
}

struct JointAttention : torch::autograd::Function<JointAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value, const c10::intrusive_ptr<Batches>& batches) {
    at::Tensor output = at::empty(query.sizes(), query.options());
    at::Tensor probabilities = at::empty({batches->probabilities()}, query.options());
    batches->each(query.size(2), [&](size_t at, const Shape& shape, Key drawn, int64_t first_query,
                                     int64_t first_token, int64_t first_probability) {
      const at::Tensor& bias = batches->biases[at];
      each_head<AttentionForward<float>>(
          {shape, drawn, given(query, first_query, shape.queries), given(key, first_token, shape.tokens),
           given(value, first_token, shape.tokens), bias.defined() ? bias.const_data_ptr<float>() : nullptr,
           probabilities.mutable_data_ptr<float>() + first_probability, made(output, first_query, shape.queries)},
          1, attention_forward);
    });
    context->save_for_backward({query, key, value, probabilities});
    context->saved_data["kept"] = c10::IValue::make_capsule(batches);
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &query = saved[0], &key = saved[1], &value = saved[2], &probabilities = saved[3];
    const at::Tensor gradient = gradients[0].contiguous();
    torch::autograd::variable_list found(4);
    for (size_t i = 0; i < 3; i++) {
      if (context->needs_input_grad(i)) found[i] = at::empty(saved[i].sizes(), saved[i].options());
    }
    kept<Batches>(context)->each(query.size(2), [&](size_t, const Shape& shape, Key drawn, int64_t first_query,
                                                    int64_t first_token, int64_t first_probability) {
      each_head<AttentionBackward<float>>(
          {shape, drawn, given(query, first_query, shape.queries), given(key, first_token, shape.tokens),
           given(value, first_token, shape.tokens), given(gradient, first_query, shape.queries),
           probabilities.const_data_ptr<float>() + first_probability, made(found[0], first_query, shape.queries),
           made(found[1], first_token, shape.tokens), made(found[2], first_token, shape.tokens)},
          shape.groups, attention_backward);
    });
    return found;
  }
};

std::vector<int64_t> as_integers(const uint64_t* values, size_t count) {
  return std::vector<int64_t>(values, values + count);
}

}  // namespace

extern "C" at::Tensor* shim_dropout_of_parts(const at::Tensor* x, const int64_t* counts, const uint64_t* seeds,
                                             size_t count, uint32_t threshold) {
  try {
    const auto parts = c10::make_intrusive<Parts>();
    parts->counts.assign(counts, counts + count);
    parts->seeds = as_integers(seeds, count);
    parts->threshold = threshold;
    return new at::Tensor(DropoutOfParts::apply(*x, parts));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}

extern "C" bool shim_suits_joint_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value,
                                           int64_t heads) {
  return suits_vectors(*query, *key, *value, std::nullopt, heads, false);
}

// Three sizes of each batch: rows, queries, tokens. A bias may be null.
extern "C" at::Tensor* shim_joint_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value,
                                            const at::Tensor* const* biases, const int64_t* sizes,
                                            const uint64_t* seeds, size_t count, int64_t heads, bool causal,
                                            uint32_t threshold) {
  try {
    const auto batches = c10::make_intrusive<Batches>();
    for (size_t at = 0; at < count; at++) {
      batches->sizes.push_back({sizes[3 * at], sizes[3 * at + 1], sizes[3 * at + 2]});
      batches->biases.push_back(biases[at] ? *biases[at] : at::Tensor());
    }
    batches->seeds = as_integers(seeds, count);
    batches->heads = heads;
    batches->groups = query->size(2) / key->size(2);
    batches->causal = causal;
    batches->threshold = threshold;
    return new at::Tensor(JointAttention::apply(*query, *key, *value, batches));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}
