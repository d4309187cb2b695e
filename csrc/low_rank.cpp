// Layers in float32 with a low-rank change, with their derivatives: y = x Wᵀ + bias + s drop(x) Aᵀ Bᵀ. W is frozen,
// A and B are trained. One operation, so that what the change adds to outputs and to gradients is added where
// these are made.
#include <ATen/ops/mm.h>

#include "tensors.h"

namespace {

// Rows side by side, of any shape.
at::Tensor flat(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

// y += drop(x).
void add_dropped(const at::Tensor& x, at::Tensor& y, Key key) {
  const float* from = x.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  const int64_t count = x.numel();
  at::parallel_for(0, (count + DROPOUT_CHUNK - 1) / DROPOUT_CHUNK, 128, [&](int64_t begin, int64_t end) {
    add_dropped(from, to, begin * DROPOUT_CHUNK, std::min(end * DROPOUT_CHUNK, count), key);
  });
}

void check_factors(const at::Tensor& a, const at::Tensor& b, int64_t inputs, int64_t outputs) {
  const auto plain = [](const at::Tensor& x) {
    return x.dim() == 2 && x.numel() > 0 && x.device().is_cpu() && x.scalar_type() == at::kFloat;
  };
  TORCH_CHECK(plain(a) && plain(b) && a.size(1) == inputs && b.size(0) == outputs && a.size(0) == b.size(1),
              "a change of ", inputs, " to ", outputs, " is not one by ", a.sizes(), " and ", b.sizes());
}

// What a change is computed with besides its factors.
struct Change {
  double scaling;
  Key key;

  // Of the layer of that number.
  void save(torch::autograd::AutogradContext* context, size_t layer = 0) const {
    auto& data = context->saved_data;
    data[named("scaling", layer)] = scaling;
    data[named("seed", layer)] = static_cast<int64_t>(key.seed);
    data[named("threshold", layer)] = static_cast<int64_t>(key.threshold);
  }

  static Change saved(torch::autograd::AutogradContext* context, size_t layer = 0) {
    auto& data = context->saved_data;
    const auto seed = static_cast<uint64_t>(data[named("seed", layer)].toInt());
    const auto threshold = static_cast<uint32_t>(data[named("threshold", layer)].toInt());
    return {data[named("scaling", layer)].toDouble(), {seed, threshold}};
  }

  static std::string named(const char* name, size_t layer) { return name + std::to_string(layer); }
};

struct WideLowRank : torch::autograd::Function<WideLowRank> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& a,
                            const at::Tensor& b, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            const Change& change) {
    const at::Tensor dropped = flat(change.key.threshold ? drop_on_cpu<float>(x, change.key) : x);
    const at::Tensor thin = at::mm(dropped, a.t());
    at::Tensor y = product(x, weight, bias);
    flat(y).addmm_(thin, b.t(), 1.0, change.scaling);
    context->save_for_backward({a, b, weight, dropped, thin});
    change.save(context);
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::autograd::variable_list found(6);
    const auto saved = context->get_saved_variables();
    const at::Tensor &a = saved[0], &b = saved[1], &dropped = saved[3], &thin = saved[4];
    const auto [scaling, key] = Change::saved(context);
    const at::Tensor gradient = flat(gradients[0].contiguous()), of_thin = at::mm(gradient, b).mul_(scaling);
    if (context->needs_input_grad(0)) {
      found[0] = product(gradients[0], saved[2].t(), std::nullopt);
      at::Tensor to = flat(found[0]);
      if (key.threshold) {
        add_dropped(at::mm(of_thin, a), to, key);
      } else {
        to.addmm_(of_thin, a);
      }
    }
    if (context->needs_input_grad(1)) found[1] = at::mm(of_thin.t(), dropped);
    if (context->needs_input_grad(2)) found[2] = at::mm(gradient.t(), thin).mul_(scaling);
    return found;
  }
};

}  // namespace

// Whether the layer is computed with its change below.
extern "C" bool shim_has_low_rank(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias) {
  return suits_one_dnn(*x, *weight, maybe(bias));
}

// In float32. `bias` may be null; nothing is dropped where the threshold is 0.
extern "C" at::Tensor* shim_low_rank(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias,
                                     const at::Tensor* a, const at::Tensor* b, double scaling, uint64_t seed,
                                     uint32_t threshold) {
  try {
    check_factors(*a, *b, weight->size(1), weight->size(0));
    return new at::Tensor(WideLowRank::apply(*x, *a, *b, *weight, maybe(bias), Change{scaling, {seed, threshold}}));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}
