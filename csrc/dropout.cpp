// Dropout whose mask is a function of a key and a position, so that it needs no generator that
// threads share, and no mask that backward would have to keep: it is drawn once more.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_dropout_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstring>

#include "error.h"
#include "keyed.h"

namespace {

// Values that are drawn at a time: 16 bits each, from a word for four.
constexpr int64_t CHUNK = 256;

// `begin` is a multiple of CHUNK; values are multiplied as `Wide`.
template <typename T, typename Wide = float>
WITHIN void drop(const T* x, T* y, int64_t begin, int64_t end, Key key) {
  const Wide scale = static_cast<Wide>(1.0 / key.keep());
  const uint16_t threshold = static_cast<uint16_t>(key.threshold);
  for (int64_t at = begin; at < end; at += CHUNK) {
    uint64_t words[CHUNK / 4];
    uint16_t draws[CHUNK];
    for (int64_t i = 0; i < CHUNK / 4; i++) words[i] = splitmix(key.seed, at / 4 + i);
    std::memcpy(draws, words, sizeof draws);
    const int64_t count = std::min(CHUNK, end - at);
    for (int64_t i = 0; i < count; i++) {
      const Wide kept = draws[i] < threshold ? 0 : scale;
      y[at + i] = static_cast<T>(static_cast<Wide>(x[at + i]) * kept);
    }
  }
}

FOR_EACH_CPU void drop_float(const float* x, float* y, int64_t begin, int64_t end, Key key) {
  drop(x, y, begin, end, key);
}
FOR_EACH_CPU void drop_double(const double* x, double* y, int64_t begin, int64_t end, Key key) {
  drop<double, double>(x, y, begin, end, key);
}
FOR_EACH_CPU void drop_bfloat16(const at::BFloat16* x, at::BFloat16* y, int64_t begin, int64_t end, Key key) {
  drop(x, y, begin, end, key);
}
FOR_EACH_CPU void drop_half(const at::Half* x, at::Half* y, int64_t begin, int64_t end, Key key) {
  drop(x, y, begin, end, key);
}

template <typename T, typename Kernel>
at::Tensor on_cpu(const at::Tensor& values, Key key, Kernel kernel) {
  const at::Tensor x = values.contiguous();
  at::Tensor y = at::empty_like(x);
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  const int64_t chunks = (x.numel() + CHUNK - 1) / CHUNK;
  at::parallel_for(0, chunks, 128, [&](int64_t first, int64_t last) {
    kernel(from, to, first * CHUNK, std::min(last * CHUNK, x.numel()), key);
  });
  return y;
}

// The same mask each time for one key on one kind of device, by a generator of the call's own.
at::Tensor on_accelerator(const at::Tensor& x, Key key) {
  const at::Device device = x.device();
  const auto& hooks = at::globalContext().getAcceleratorHooksInterface(device.type());
  at::Generator generator = hooks.getNewGenerator(device.index());
  generator.set_current_seed(key.seed);
  at::Tensor mask = at::empty(x.sizes(), x.options().dtype(at::kBool));
  mask.bernoulli_(key.keep(), generator);
  return at::native_dropout_backward(x, mask, 1.0 / key.keep());
}

at::Tensor keyed_dropout(const at::Tensor& x, Key key) {
  if (!x.device().is_cpu()) return on_accelerator(x, key);
  switch (x.scalar_type()) {
    case at::kFloat: return on_cpu<float>(x, key, drop_float);
    case at::kDouble: return on_cpu<double>(x, key, drop_double);
    case at::kBFloat16: return on_cpu<at::BFloat16>(x, key, drop_bfloat16);
    case at::kHalf: return on_cpu<at::Half>(x, key, drop_half);
    default: TORCH_CHECK(false, "dropout of ", x.scalar_type(), " values");
  }
}

struct Dropout : torch::autograd::Function<Dropout> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, int64_t seed,
                            int64_t threshold) {
    context->saved_data["seed"] = seed;
    context->saved_data["threshold"] = threshold;
    return keyed_dropout(x, {static_cast<uint64_t>(seed), static_cast<uint32_t>(threshold)});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto seed = context->saved_data["seed"].toInt();
    const auto threshold = context->saved_data["threshold"].toInt();
    return {keyed_dropout(gradients[0], {static_cast<uint64_t>(seed), static_cast<uint32_t>(threshold)}),
            at::Tensor(), at::Tensor()};
  }
};

}  // namespace

extern "C" at::Tensor* shim_dropout(const at::Tensor* x, uint64_t seed, uint32_t threshold) {
  try {
    return new at::Tensor(
        Dropout::apply(*x, static_cast<int64_t>(seed), static_cast<int64_t>(threshold)));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}
