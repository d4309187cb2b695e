// Layers with a low-rank change, with their derivatives: y = x Wᵀ + bias + s drop(x) Aᵀ Bᵀ. W is frozen, A and B
// are trained. One operation, so that what the change adds to outputs and to gradients is added where these
// are made.
#include <ATen/ops/mm.h>

#include "tensors.h"
#include "tiles/low_rank.h"

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

// Values of (rows, rank), filled up with zeros.
at::Tensor new_thin(int64_t rows, int64_t rank, const at::Tensor& like) {
  at::Tensor thin = at::empty({filled(rows), filled(rank)}, like.options());
  thin.narrow(0, rows, filled(rows) - rows).zero_();
  return thin;
}

TileTerm from_thin(const at::Tensor& thin, const at::Tensor& packed) {
  return {thin.size(1), values(thin), values(packed)};
}

// The rows of one matrix by all outputs of a packed weight.
void multiply_all(const TileProduct& call, int64_t begin, int64_t end) {
  multiply(call, {begin, end}, {0, panels_of(call.outputs)});
}

// The change's gradient on its way back through dropout, row by row.
struct DroppedGradient {
  const at::Tensor &thin, &packed;
  Key key;
  at::Tensor& to;

  void add(int64_t begin, int64_t end) const {
    const int64_t rank = thin.size(1), width = to.size(-1);
    at::Tensor some = at::empty({PANEL, width}, to.options());
    for (int64_t row = begin; row < end; row += PANEL) {
      const int64_t rows = std::min(PANEL, end - row);
      multiply_all({rank, width, values(thin) + row * rank, values(packed), nullptr, new_values(some)}, 0, rows);
      add_dropped(values(some), new_values(to) + row * width, row * width, rows * width, key);
    }
  }
};

// The transposes of what is thin in a backward pass.
struct Turned {
  int64_t step;
  // (rank, step)
  at::Tensor rows;

  Turned(const at::Tensor& thin)
      // Not a power of two from one row to the next, or they would share few places of a cache.
      : step(thin.size(0) + PANEL), rows(at::empty({thin.size(1), step}, thin.options())) {}

  void put(const at::Tensor& thin, int64_t begin, int64_t end) {
    turn_rows(values(thin), thin.size(1), {begin, filled(end)}, new_values(rows), step);
  }
};

// Both factors' gradients, by threads that share their columns.
void each_panel(const FactorGradient& first, const FactorGradient& second) {
  const int64_t panels = first.to ? panels_of(first.width) : 0, all = panels + (second.to ? panels_of(second.width) : 0);
  at::parallel_for(0, all, 1, [&](int64_t begin, int64_t end) {
    if (begin < panels) factor_gradient(first, begin, std::min(end, panels));
    if (end > panels) factor_gradient(second, std::max<int64_t>(begin - panels, 0), end - panels);
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

  void save(torch::autograd::AutogradContext* context) const {
    context->saved_data["scaling"] = scaling;
    context->saved_data["seed"] = static_cast<int64_t>(key.seed);
    context->saved_data["threshold"] = static_cast<int64_t>(key.threshold);
  }

  static Change saved(torch::autograd::AutogradContext* context) {
    auto& data = context->saved_data;
    const Key key = {static_cast<uint64_t>(data["seed"].toInt()), static_cast<uint32_t>(data["threshold"].toInt())};
    return {data["scaling"].toDouble(), key};
  }
};

struct NarrowLowRank : torch::autograd::Function<NarrowLowRank> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& a,
                            const at::Tensor& b, const at::Tensor& weight, const at::Tensor& turned,
                            const std::optional<at::Tensor>& bias, int64_t outputs, const Change& change) {
    const at::Tensor input = x.contiguous();
    at::Tensor dropped = change.key.threshold ? at::empty_like(input) : input;
    const at::Tensor down = pack(a), up = pack(b, change.scaling);
    const int64_t rows = rows_of(input), width = input.size(-1);
    at::Tensor thin = new_thin(rows, a.size(0), input), y = like(input, outputs);
    TileProduct call = product_of(input, weight, bias, y);
    call.added = from_thin(thin, up);
    share(call, rows, [&](int64_t begin, int64_t end) {
      if (change.key.threshold) {
        drop(input.const_data_ptr<at::BFloat16>(), dropped.mutable_data_ptr<at::BFloat16>(), begin * width, end * width,
             change.key);
      }
      multiply_all(product_of(dropped, down, std::nullopt, thin), begin, end);
    });
    context->save_for_backward({a, b, turned, dropped, thin});
    change.save(context);
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::autograd::variable_list found(8);
    const auto saved = context->get_saved_variables();
    const at::Tensor &a = saved[0], &b = saved[1], &dropped = saved[3], &thin = saved[4];
    const auto [scaling, key] = Change::saved(context);
    const at::Tensor gradient = gradients[0].to(at::kBFloat16).contiguous();
    const int64_t rows = rows_of(gradient), inputs = dropped.size(-1), outputs = gradient.size(-1);
    at::Tensor of_thin = new_thin(rows, a.size(0), gradient);
    Turned turned(thin), turned_gradient(of_thin);
    const at::Tensor up = pack(b.t(), scaling);
    const OfRows prepare = [&](int64_t begin, int64_t end) {
      multiply_all(product_of(gradient, up, std::nullopt, of_thin), begin, end);
      turned.put(thin, begin, end);
      turned_gradient.put(of_thin, begin, end);
    };
    if (context->needs_input_grad(0)) {
      const at::Tensor down = pack(a.t());
      found[0] = like(gradient, inputs);
      TileProduct call = product_of(gradient, saved[2], std::nullopt, found[0]);
      if (key.threshold) {
        const DroppedGradient dropped_gradient = {of_thin, down, key, found[0]};
        share(call, rows, prepare, [&](int64_t begin, int64_t end) { dropped_gradient.add(begin, end); });
      } else {
        call.added = from_thin(of_thin, down);
        share(call, rows, prepare);
      }
    } else {
      each_row(rows, prepare);
    }
    FactorGradient of_a = {rows, a.size(0), inputs, 1.0f, values(turned_gradient.rows), turned_gradient.step,
                           values(dropped), nullptr, inputs, 1};
    FactorGradient of_b = {rows, a.size(0), outputs, static_cast<float>(scaling), values(turned.rows), turned.step,
                           values(gradient), nullptr, 1, a.size(0)};
    if (context->needs_input_grad(1)) of_a.to = (found[1] = at::empty(a.sizes(), a.options())).mutable_data_ptr<float>();
    if (context->needs_input_grad(2)) of_b.to = (found[2] = at::empty(b.sizes(), b.options())).mutable_data_ptr<float>();
    each_panel(of_a, of_b);
    return found;
  }
};

// The same in float32, W as it lies.
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

// With W and its transpose packed. `bias` may be null; nothing is dropped where the threshold is 0.
extern "C" at::Tensor* shim_narrow_low_rank(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* turned,
                                            const at::Tensor* bias, int64_t inputs, int64_t outputs,
                                            const at::Tensor* a, const at::Tensor* b, double scaling, uint64_t seed,
                                            uint32_t threshold) {
  try {
    check_linear(*x, bias, inputs, outputs);
    check_factors(*a, *b, inputs, outputs);
    return new at::Tensor(NarrowLowRank::apply(x->to(at::kBFloat16), *a, *b, *weight, *turned, maybe(bias), outputs,
                                               Change{scaling, {seed, threshold}}));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}
