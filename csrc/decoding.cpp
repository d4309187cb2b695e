// Operations of our own for models that write texts: nothing here has a derivative.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <vector>

#include "error.h"
#include "kernels.h"
#include "tensors.h"

namespace {

// Whether these are rows of a kind on a CPU, their values side by side.
bool are_rows(const at::Tensor& x, at::ScalarType kind, int64_t width) {
  return x.device().is_cpu() && x.scalar_type() == kind && x.dim() == 2 && x.size(1) == width && x.stride(1) == 1;
}

template <typename T>
Tokens<T> tokens_of(const at::Tensor& key, const at::Tensor& value) {
  return {key.const_data_ptr<T>(), value.const_data_ptr<T>(), key.stride(0), value.stride(0)};
}

// What the tokens of a step, or of a prompt, are taken from: (tokens, key_heads * width) each.
struct Stored {
  at::Tensor* const* keys;
  at::Tensor* const* values;
  size_t count;

  bool suit(at::ScalarType kind, int64_t width) const {
    for (size_t i = 0; i < count; i++) {
      const bool plain = are_rows(*keys[i], kind, width) && are_rows(*values[i], kind, width);
      if (!plain || keys[i]->size(0) != values[i]->size(0)) return false;
    }
    return true;
  }
};

// How scores are made, and how many of a text's last tokens have any; see `NextAttention`.
struct Scores {
  float scale, softcap;
  int64_t window;
};

template <typename T>
at::Tensor attend_next(const at::Tensor& query, int64_t heads, int64_t key_heads, const Stored& prompts,
                       const Stored& steps, const int64_t* prompt_of, const int64_t* rows, const Scores& scores) {
  const int64_t texts = query.size(0), step_count = static_cast<int64_t>(steps.count);
  std::vector<Tokens<T>> stored;
  for (size_t i = 0; i < steps.count; i++) stored.push_back(tokens_of<T>(*steps.keys[i], *steps.values[i]));
  std::vector<Text<T>> all;
  for (int64_t i = 0; i < texts; i++) {
    const int64_t prompt = prompt_of[i];
    TORCH_CHECK(prompt >= 0 && prompt < static_cast<int64_t>(prompts.count), "text ", i, " has no prompt ", prompt);
    for (int64_t step = 0; step < step_count; step++) {
      const int64_t row = rows[i * step_count + step];
      TORCH_CHECK(row >= 0 && row < steps.keys[step]->size(0), "step ", step, " has no row ", row);
    }
    const at::Tensor& key = *prompts.keys[prompt];
    all.push_back({tokens_of<T>(key, *prompts.values[prompt]), key.size(0), rows + i * step_count});
  }
  at::Tensor context = at::empty({texts, query.size(1)}, query.options());
  const NextAttention<T> call = {heads,
                                 key_heads,
                                 query.size(1) / heads,
                                 step_count,
                                 scores.window,
                                 scores.scale,
                                 scores.softcap,
                                 all.data(),
                                 stored.data(),
                                 query.const_data_ptr<T>(),
                                 query.stride(0),
                                 context.mutable_data_ptr<T>()};
  at::parallel_for(0, texts, 1, [&](int64_t begin, int64_t end) { attention_of_next(call, begin, end); });
  return context;
}

template <typename T>
void find_likeliest(const at::Tensor& logits, int64_t width, at::Tensor& tokens, at::Tensor& log_probabilities) {
  const Likeliest<T> call = {logits.size(1),
                             logits.stride(0),
                             logits.const_data_ptr<T>(),
                             width,
                             tokens.mutable_data_ptr<int64_t>(),
                             log_probabilities.mutable_data_ptr<double>()};
  at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) { likeliest(call, begin, end); });
}

}  // namespace

// Null, without an error, where the kernel does not suit the values. `rows` is (texts, steps).
extern "C" int shim_next_attention(const at::Tensor* query, int64_t heads, int64_t key_heads,
                                   at::Tensor* const* prompt_keys, at::Tensor* const* prompt_values, size_t prompts,
                                   at::Tensor* const* step_keys, at::Tensor* const* step_values, size_t steps,
                                   const int64_t* prompt_of, const int64_t* rows, float scale, float softcap,
                                   int64_t window, at::Tensor** found) {
  try {
    *found = nullptr;
    const Stored begun = {prompt_keys, prompt_values, prompts}, continued = {step_keys, step_values, steps};
    const bool divide = heads > 0 && key_heads > 0 && heads % key_heads == 0 && query->dim() == 2 &&
                        query->size(1) % (heads * ATTENTION_LANES) == 0;
    const at::ScalarType kind = query->scalar_type();
    if (!has_wide_vectors() || !divide || !is_float_or_bfloat16(*query) || !are_rows(*query, kind, query->size(1))) return 0;
    TORCH_CHECK(window > 0, "a window of ", window, " tokens");
    const int64_t width = query->size(1) / heads * key_heads;
    if (!begun.suit(kind, width) || !continued.suit(kind, width)) return 0;
    const auto attend = kind == at::kFloat ? attend_next<float> : attend_next<at::BFloat16>;
    *found = new at::Tensor(
        attend(*query, heads, key_heads, begun, continued, prompt_of, rows, {scale, softcap, window}));
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}

// Of logits, (rows, vocabulary), `width` tokens of each row and their log-probabilities; see `Likeliest`.
// Both are null, without an error, where the kernel does not suit.
extern "C" int shim_likeliest(const at::Tensor* logits, int64_t width, at::Tensor** tokens,
                              at::Tensor** log_probabilities) {
  try {
    *tokens = *log_probabilities = nullptr;
    if (!is_float_or_bfloat16(*logits)) return 0;
    TORCH_CHECK(logits->dim() == 2, "logits of ", logits->sizes(), " are not rows");
    TORCH_CHECK(width > 0 && width <= logits->size(1), width, " tokens of ", logits->size(1));
    const at::Tensor rows = logits->stride(1) == 1 ? *logits : logits->contiguous();
    at::Tensor places = at::empty({rows.size(0), width}, rows.options().dtype(at::kLong));
    at::Tensor found = at::empty({rows.size(0), width}, rows.options().dtype(at::kDouble));
    const auto find = rows.scalar_type() == at::kFloat ? find_likeliest<float> : find_likeliest<at::BFloat16>;
    find(rows, width, places, found);
    *tokens = new at::Tensor(std::move(places));
    *log_probabilities = new at::Tensor(std::move(found));
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
