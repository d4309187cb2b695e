// Two layers in bfloat16 with an activation between them, and their derivatives: one operation, so that the
// activation and its derivative are computed where the products are made that they belong to.
#include "tensors.h"
#include "tiles/tiles.h"

namespace {

struct MlpLayer {
  // The weight and its transpose, packed.
  at::Tensor weight, turned;
  std::optional<at::Tensor> bias;
  int64_t outputs;
};

// Two products, the second of what the first makes.
void share_in_turn(const TileProduct& first, const TileProduct& second, int64_t rows) {
  if (are_many(rows)) return share({first, second}, rows);
  share({first}, rows);
  share({second}, rows);
}

struct NarrowMlp : torch::autograd::Function<NarrowMlp> {
  // With `keeps`, what the way back needs of the activation is kept. The last output is x.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                                                const MlpLayer& widen, const MlpLayer& narrow,
                                                const TileActivation& activation, bool keeps) {
    const at::Tensor input = x.contiguous();
    at::Tensor wide = like(input, widen.outputs), y = like(input, narrow.outputs);
    at::Tensor slope = keeps ? at::empty_like(wide) : at::Tensor();
    TileProduct first = product_of(input, widen.weight, widen.bias, wide);
    first.activation = activation;
    first.slope = keeps ? new_values(slope) : nullptr;
    share_in_turn(first, product_of(wide, narrow.weight, narrow.bias, y), rows_of(input));
    context->saved_data["inputs"] = x.size(-1);
    context->save_for_backward({narrow.turned, widen.turned, slope});
    context->set_materialize_grads(false);
    return {y, x};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::autograd::variable_list found(5);
    if (!context->needs_input_grad(0)) return found;
    if (!gradients[0].defined()) {
      found[0] = gradients[1];
      return found;
    }
    const auto saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].to(at::kBFloat16).contiguous();
    const at::Tensor beside = gradients[1].defined() ? gradients[1].contiguous() : at::Tensor();
    at::Tensor of_wide = like(gradient, saved[2].size(-1));
    found[0] = like(gradient, context->saved_data["inputs"].toInt());
    TileProduct first = product_of(gradient, saved[0], std::nullopt, of_wide);
    first.factor = values(saved[2]);
    TileProduct second = product_of(of_wide, saved[1], std::nullopt, found[0]);
    second.beside = beside.defined() ? values(beside) : nullptr;
    share_in_turn(first, second, rows_of(gradient));
    return found;
  }
};

// A layer as the caller gives it; `bias` may be null.
struct GivenMlpLayer {
  const at::Tensor *weight, *turned, *bias;
  int64_t inputs, outputs;

  MlpLayer checked() const {
    TORCH_CHECK(!bias || (is_plain(*bias) && bias->numel() == outputs), "a bias of ", outputs, " values is not ",
                bias->sizes(), " of ", bias->scalar_type());
    return {*weight, *turned, maybe(bias), outputs};
  }
};

}  // namespace

// What two layers make of x, with an activation between them by its number in `TileActivation`; and x with the
// gradient that it has beside theirs.
extern "C" int shim_narrow_mlp(const at::Tensor* x, const GivenMlpLayer* widen, const GivenMlpLayer* narrow,
                               int activation, double linear, double cubic, at::Tensor** found, at::Tensor** passed) {
  try {
    check_linear(*x, widen->bias, widen->inputs, widen->outputs);
    TORCH_CHECK(narrow->inputs == widen->outputs, "a layer of ", narrow->inputs, " inputs has no use for ",
                widen->outputs);
    TORCH_CHECK(activation == TileActivation::GELU || activation == TileActivation::GATE, "no activation ", activation);
    const SigmoidGate gate = {static_cast<float>(linear), static_cast<float>(cubic)};
    const TileActivation made = {static_cast<TileActivation::Kind>(activation), gate};
    const bool keeps = x->requires_grad() && at::GradMode::is_enabled();
    const auto both = NarrowMlp::apply(x->to(at::kBFloat16), widen->checked(), narrow->checked(), made, keeps);
    *found = new at::Tensor(both[0]);
    *passed = passed_on(*x, both[1]);
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
