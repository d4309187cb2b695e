// Operations of our own with their derivatives: dropout, and frozen linear layers by oneDNN.
#include <ATen/Parallel.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "autocast.h"
#include "error.h"
#include "gpu/launch.h"
#include "kernels.h"

namespace {

template <typename T>
at::Tensor drop_on_cpu(const at::Tensor& values, Key key) {
  const at::Tensor x = values.contiguous();
  at::Tensor y = at::empty_like(x);
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  const int64_t chunks = (x.numel() + DROPOUT_CHUNK - 1) / DROPOUT_CHUNK;
  at::parallel_for(0, chunks, 128, [&](int64_t first, int64_t last) {
    drop(from, to, first * DROPOUT_CHUNK, std::min(last * DROPOUT_CHUNK, x.numel()), key);
  });
  return y;
}

std::optional<Number> number_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat: return Number::Float;
    case at::kDouble: return Number::Double;
    case at::kBFloat16: return Number::Bfloat16;
    case at::kHalf: return Number::Half;
    default: return std::nullopt;
  }
}

// Where what is computed from a tensor of a GPU is launched.
Place place_of(const at::Tensor& x) {
  const c10::impl::VirtualGuardImpl cuda(at::kCUDA);
  return {x.device().index(), cuda.getStream(x.device()).native_handle()};
}

// Whether there are kernels of our own on GPUs.
bool compiles_for_gpus() {
  static const bool found = has_nvrtc();
  return found;
}

// By a kernel of our own.
at::Tensor drop_on_cuda(const at::Tensor& values, Number number, Key key) {
  const at::Tensor x = values.contiguous();
  at::Tensor y = at::empty_like(x);
  const std::string wrong =
      drop_on_gpu(place_of(x), number, x.const_data_ptr(), y.mutable_data_ptr(), x.numel(), key);
  TORCH_CHECK(wrong.empty(), wrong);
  return y;
}

// By operations that every device has, on numbers of 64 bits: the same bits, and many times slower.
at::Tensor drop_by_operations(const at::Tensor& x, Key key) {
  const auto integer = [](uint64_t bits) { return static_cast<int64_t>(bits); };
  const auto shifted = [](const at::Tensor& z, int64_t by) {
    return z.bitwise_right_shift(by).bitwise_and((int64_t{1} << (64 - by)) - 1);
  };
  const int64_t count = x.numel();
  at::Tensor z = at::arange(1, (count + 3) / 4 + 1, x.options().dtype(at::kLong));
  z = z.mul(integer(0x9e3779b97f4a7c15)).add(integer(key.seed));
  z = z.bitwise_xor(shifted(z, 30)).mul(integer(0xbf58476d1ce4e5b9));
  z = z.bitwise_xor(shifted(z, 27)).mul(integer(0x94d049bb133111eb));
  z = z.bitwise_xor(shifted(z, 31));
  const at::Tensor shift = at::arange(0, 64, 16, z.options());
  const at::Tensor draws = z.unsqueeze(1).bitwise_right_shift(shift).bitwise_and(0xffff);
  const at::Tensor kept = draws.flatten().narrow(0, 0, count).view(x.sizes()).ge(static_cast<int64_t>(key.threshold));
  const at::ScalarType wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor factor = kept.to(wide).mul(1.0 / key.keep());
  return x.to(wide).mul(factor).to(x.scalar_type());
}

at::Tensor drop_elsewhere(const at::Tensor& x, Key key) {
  const auto number = number_of(x);
  TORCH_CHECK(number, "dropout of ", x.scalar_type(), " values");
  if (x.is_cuda() && compiles_for_gpus()) return drop_on_cuda(x, *number, key);
  if (x.is_cuda()) TORCH_WARN_ONCE("libnvrtc is not there: dropout is slow without it");
  return drop_by_operations(x, key);
}

at::Tensor keyed_dropout(const at::Tensor& x, Key key) {
  if (!x.device().is_cpu()) return drop_elsewhere(x, key);
  switch (x.scalar_type()) {
    case at::kFloat: return drop_on_cpu<float>(x, key);
    case at::kDouble: return drop_on_cpu<double>(x, key);
    case at::kBFloat16: return drop_on_cpu<at::BFloat16>(x, key);
    case at::kHalf: return drop_on_cpu<at::Half>(x, key);
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

// A linear layer of frozen weights, computed by oneDNN on a CPU. Its products of float32 matrices are
// faster than those of MKL, which libtorch takes for them: by 5 % forward and 12 % backward on an AMD
// EPYC of the fourth generation, where both compute near the peak.

using OneDnnLinear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                std::string_view, c10::List<std::optional<at::Scalar>>,
                                std::optional<std::string_view>);

// Rows of `x` from which on oneDNN is faster in each direction; below, bringing the weights into its
// layout takes longer than that saves.
constexpr int64_t ROWS = 256;
// The same where the weights have as many rows as a vocabulary, whose products MKL is slow with: 160
// rows by 50,257 of 768 at 46 GFLOP/s of one thread, oneDNN at 65.
constexpr int64_t ROWS_OF_MANY_OUTPUTS = 32, MANY_OUTPUTS = 16384;
// The same where a weight lies as (inputs, outputs), whole pages from one input to the next: what MKL reads of
// an output then shares few places of a cache. 160 rows by 768 x 3072 at 97 GFLOP/s of one thread, oneDNN at 140;
// 1536 outputs, which are no whole pages, at 133 and 124.
constexpr int64_t ROWS_OF_PAGES = 96, PAGE = 4096;

int64_t rows_for_one_dnn(const at::Tensor& weight) {
  if (weight.size(0) >= MANY_OUTPUTS) return ROWS_OF_MANY_OUTPUTS;
  const bool by_pages = weight.stride(0) == 1 && weight.stride(1) * sizeof(float) % PAGE == 0;
  return by_pages ? ROWS_OF_PAGES : ROWS;
}

// libtorch's own compiled models call this operation. It is not in the public interface: a build
// without it, or with another form of it, is served by the public one.
const std::optional<c10::TypedOperatorHandle<OneDnnLinear>>& one_dnn() {
  static const auto found = []() -> std::optional<c10::TypedOperatorHandle<OneDnnLinear>> {
    try {
      const auto named = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
      if (named && named->hasKernelForDispatchKey(c10::DispatchKey::CPU)) return named->typed<OneDnnLinear>();
    } catch (const c10::Error&) {
    }
    return std::nullopt;
  }();
  return found;
}

// x Wᵀ + bias
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return one_dnn()->call(x, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

struct FrozenLinear : torch::autograd::Function<FrozenLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
    context->save_for_backward({weight});
    return product(x, weight, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const at::Tensor weight = context->get_saved_variables()[0];
    return {product(gradients[0], weight.t(), std::nullopt), at::Tensor(), at::Tensor()};
  }
};

bool suits_one_dnn(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const auto plain = [](const at::Tensor& tensor) {
    return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat;
  };
  const bool frozen = !weight.requires_grad() && !(bias && bias->requires_grad());
  // oneDNN takes no offence at a bias that is too short.
  const bool fits = x.dim() > 1 && weight.dim() == 2 && x.size(-1) == weight.size(1) &&
                    (!bias || bias->sizes() == weight.sizes().slice(0, 1));
  return plain(x) && plain(weight) && (!bias || plain(*bias)) && frozen && fits &&
         x.numel() >= rows_for_one_dnn(weight) * x.size(-1) && !at::autocast::is_autocast_enabled(at::kCPU) &&
         one_dnn().has_value();
}

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

// On any device by the operations that a device without a kernel takes.
extern "C" at::Tensor* shim_dropout_by_operations(const at::Tensor* x, uint64_t seed, uint32_t threshold) {
  try {
    return new at::Tensor(drop_by_operations(*x, {seed, threshold}));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}

extern "C" at::Tensor* shim_linear(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias) {
  try {
    const auto added = bias ? std::optional<at::Tensor>(*bias) : std::nullopt;
    if (suits_one_dnn(*x, *weight, added)) return new at::Tensor(FrozenLinear::apply(*x, *weight, added));
    return new at::Tensor(at::linear(*x, *weight, added));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}
