// Frozen layers in bfloat16, one after the other, and their derivatives: one operation, so that an activation
// between two, its derivative, and the norm of the residual sum behind them are computed where the products are
// made that they belong to.
#include "tensors.h"
#include "tiles/tiles.h"

namespace {

struct FrozenLayer {
  // The weight and its transpose, packed.
  at::Tensor weight, turned;
  std::optional<at::Tensor> bias;
  int64_t outputs;
};

// The norm of the residual sum of what layers make.
struct NormBehind {
  at::Tensor weight;
  std::optional<at::Tensor> bias;
  double eps;
  RowMasks masks;
};

struct NarrowSequential : torch::autograd::Function<NarrowSequential> {
  // What is kept for the way back, in this order; then each layer's transpose.
  enum { NORM, NORMED, INVERSE, SLOPE, TURNED };

  // One layer, or two with an activation between them, of which, with `keeps`, the way back has what it needs.
  // Where there is a norm, what the layers read is the residual unless one is given.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const std::optional<at::Tensor>& residual, const std::vector<FrozenLayer>& layers,
                            const TileActivation& activation, bool keeps, const std::optional<NormBehind>& norm) {
    const at::Tensor input = x.contiguous();
    const int64_t rows = rows_of(input);
    torch::autograd::variable_list kept(TURNED), made;
    std::vector<TileProduct> calls;
    for (const FrozenLayer& layer : layers) {
      const at::Tensor from = made.empty() ? input : made.back();
      made.push_back(like(input, layer.outputs));
      calls.push_back(product_of(from, layer.weight, layer.bias, made.back()));
      kept.push_back(layer.turned);
    }
    if (layers.size() > 1) {
      calls[0].activation = activation;
      if (keeps) calls[0].slope = new_values(kept[SLOPE] = at::empty_like(made[0]));
    }
    context->saved_data["inputs"] = x.size(-1);
    context->saved_data["other"] = residual.has_value();
    at::Tensor y = made.back();
    if (norm) {
      const at::Tensor other = residual ? residual->contiguous() : input;
      y = at::empty_like(y);
      kept[NORM] = norm->weight;
      kept[NORMED] = at::empty_like(y);
      kept[INVERSE] = at::empty({rows}, norm->weight.options());
      const SumNorm<Narrow, Narrow> behind = {
          {y.size(-1), {}, values(made.back()), values(other), floats(norm->weight), floats(norm->bias),
           static_cast<float>(norm->eps), nullptr, new_values(y), new_values(kept[NORMED]),
           write_as<float>(kept[INVERSE])},
          norm->masks};
      share_in_turn(calls, rows, {}, [&](int64_t begin, int64_t end) { behind.compute(begin, end); });
      norm->masks.save(context);
    } else {
      share_in_turn(calls, rows);
    }
    context->save_for_backward(kept);
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::autograd::variable_list found(6);
    const auto saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].to(at::kBFloat16).contiguous();
    if (!saved[NORM].defined()) {
      if (context->needs_input_grad(0)) found[0] = through_layers(context, saved, gradient, nullptr, {});
      return found;
    }
    const bool has_other = context->saved_data["other"].toBool();
    at::Tensor of_sum = at::empty_like(gradient), of_residual;
    if (!has_other || context->needs_input_grad(1)) of_residual = at::empty_like(gradient);
    const RowMasks masks = RowMasks::saved(context);
    const SumNormBackward<Narrow, Narrow> behind = {
        {gradient.size(-1), {}, floats(saved[NORM]), values(saved[NORMED]), floats(saved[INVERSE]), values(gradient),
         nullptr, new_values(of_sum), of_residual.defined() ? new_values(of_residual) : nullptr},
        masks};
    const OfRows prepare = [&](int64_t begin, int64_t end) { behind.compute(begin, end); };
    if (context->needs_input_grad(0)) {
      const Narrow* beside = has_other ? nullptr : values(of_residual);
      found[0] = through_layers(context, saved, of_sum, beside, prepare);
    } else {
      each_row(rows_of(gradient), prepare);
    }
    if (has_other) found[1] = of_residual;
    return found;
  }

  // The gradient by what the layers read, from that by what they make, which `prepare` computes of each row; and
  // what is added to it.
  static at::Tensor through_layers(torch::autograd::AutogradContext* context,
                                   const torch::autograd::variable_list& saved, const at::Tensor& gradient,
                                   const Narrow* beside, const OfRows& prepare) {
    torch::autograd::variable_list made = {gradient};
    std::vector<TileProduct> calls;
    for (size_t i = saved.size() - 1; i >= TURNED; i--) {
      const at::Tensor from = made.back();
      const bool is_first = i == TURNED;
      const int64_t width = is_first ? context->saved_data["inputs"].toInt() : saved[SLOPE].size(-1);
      made.push_back(like(gradient, width));
      calls.push_back(product_of(from, saved[i], std::nullopt, made.back()));
      calls.back().factor = is_first ? nullptr : values(saved[SLOPE]);
      calls.back().beside = is_first ? beside : nullptr;
    }
    share_in_turn(calls, rows_of(gradient), prepare);
    return made.back();
  }
};

void check_bias(const at::Tensor* bias, int64_t outputs) {
  TORCH_CHECK(!bias || (is_plain(*bias) && bias->numel() == outputs), "a bias of ", outputs, " values is not ",
              bias->sizes(), " of ", bias->scalar_type());
}

// A layer as the caller gives it; `bias` may be null.
struct GivenFrozenLayer {
  const at::Tensor *weight, *turned, *bias;
  int64_t inputs, outputs;

  FrozenLayer checked() const {
    check_bias(bias, outputs);
    return {*weight, *turned, maybe(bias), outputs};
  }
};

// A norm as the caller gives it, of so many batches; `bias` and `residual` may be null.
struct GivenNorm {
  const at::Tensor *weight, *bias, *residual;
  double eps;
  const int64_t* rows;
  const uint64_t* seeds;
  size_t count;
  uint32_t threshold;

  NormBehind checked(const at::Tensor& x, int64_t outputs) const {
    check_bias(weight, outputs);
    check_bias(bias, outputs);
    const at::Tensor& other = residual ? *residual : x;
    TORCH_CHECK(other.numel() == rows_of(x) * outputs && other.size(-1) == outputs, "a sum of ", other.sizes(),
                " and of ", rows_of(x), " rows of ", outputs);
    return {*weight, maybe(bias), eps, {{rows, rows + count}, {seeds, seeds + count}, threshold}};
  }
};

}  // namespace

// What one layer makes of x, or two, with an activation between them by its number in `TileActivation`; with
// `norm`, which may be null, the norm of the residual sum with it.
extern "C" at::Tensor* shim_narrow_sequential(const at::Tensor* x, const GivenFrozenLayer* given, size_t count,
                                              int activation, double linear, double cubic, const GivenNorm* norm) {
  try {
    TORCH_CHECK(count == 1 || count == 2, "layers one after the other are one or two, not ", count);
    check_linear(*x, given->bias, given->inputs, given->outputs);
    std::vector<FrozenLayer> layers;
    for (size_t i = 0; i < count; i++) {
      TORCH_CHECK(i == 0 || given[i].inputs == given[i - 1].outputs, "a layer of ", given[i].inputs,
                  " inputs has no use for ", given[i - 1].outputs);
      layers.push_back(given[i].checked());
    }
    TORCH_CHECK(activation >= TileActivation::NONE && activation <= TileActivation::GATE, "no activation ", activation);
    TORCH_CHECK((activation != TileActivation::NONE) == (count == 2),
                "an activation goes between two layers, which have one");
    const SigmoidGate gate = {static_cast<float>(linear), static_cast<float>(cubic)};
    const TileActivation between = {static_cast<TileActivation::Kind>(activation), gate};
    const bool keeps = x->requires_grad() && at::GradMode::is_enabled();
    std::optional<NormBehind> behind;
    std::optional<at::Tensor> residual;
    if (norm) behind = norm->checked(*x, layers.back().outputs);
    if (norm && norm->residual) residual = norm->residual->to(at::kBFloat16);
    return new at::Tensor(NarrowSequential::apply(x->to(at::kBFloat16), residual, layers, between, keeps, behind));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}
