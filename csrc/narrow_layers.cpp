// Layers in bfloat16 that take one input, each with a low-rank change or without one, with their derivatives:
// y = x Wᵀ + bias + s drop(x) Aᵀ Bᵀ, by the kernels for tiles. W is frozen, A and B are trained. One operation, so
// that what changes add to outputs and to gradients, and the layers' gradients by their input, are added where
// these are made.
#include "tensors.h"
#include "tiles/low_rank.h"

namespace {

// Values of (rows, rank), filled up with zeros.
at::Tensor new_thin(int64_t rows, int64_t rank, const at::Tensor& like) {
  at::Tensor thin = at::empty({filled(rows), filled(rank)}, like.options());
  thin.narrow(0, rows, filled(rows) - rows).zero_();
  return thin;
}

TileTerm from_thin(const at::Tensor& thin, const at::Tensor& packed) {
  return {thin.size(1), values(thin), values(packed)};
}

// The change's gradient on its way back through dropout, row by row.
struct DroppedGradient {
  at::Tensor thin, packed;
  Key key;

  void add(at::Tensor& to, int64_t begin, int64_t end) const {
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

struct NarrowLayer {
  // The weight and its transpose, packed.
  at::Tensor weight, turned;
  std::optional<at::Tensor> bias;
  int64_t outputs;
  std::optional<Change> change;
};

// A change on its way forward: x to what is thin.
struct ThinProduct {
  at::Tensor input, dropped, down, thin, up;
  Key key;

  void compute(int64_t begin, int64_t end) {
    const int64_t width = input.size(-1);
    if (key.threshold) {
      drop(input.const_data_ptr<at::BFloat16>(), dropped.mutable_data_ptr<at::BFloat16>(), begin * width, end * width, key);
    }
    multiply_all(product_of(dropped, down, std::nullopt, thin), begin, end);
  }
};

// A change on its way back.
struct ChangeBack {
  at::Tensor gradient, dropped, up, thin, of_thin;
  Turned turned, turned_gradient;

  // `up` is filled with `packings`.
  ChangeBack(const at::Tensor& gradient, const at::Tensor& b, const at::Tensor& dropped, const at::Tensor& thin,
             double scaling, Packings& packings)
      : gradient(gradient),
        dropped(dropped),
        up(packings.add(b.t(), scaling)),
        thin(thin),
        of_thin(new_thin(rows_of(gradient), b.size(1), gradient)),
        turned(thin),
        turned_gradient(of_thin) {}

  void compute(int64_t begin, int64_t end) {
    multiply_all(product_of(gradient, up, std::nullopt, of_thin), begin, end);
    turned.put(thin, begin, end);
    turned_gradient.put(of_thin, begin, end);
  }

  FactorGradient of_a(at::Tensor& to) const {
    return {rows_of(gradient), to.size(0), to.size(1), 1.0f, values(turned_gradient.rows), turned_gradient.step,
            values(dropped), to.mutable_data_ptr<float>(), to.size(1), 1};
  }

  FactorGradient of_b(at::Tensor& to, double scaling) const {
    return {rows_of(gradient), to.size(1), to.size(0), static_cast<float>(scaling), values(turned.rows), turned.step,
            values(gradient), to.mutable_data_ptr<float>(), 1, to.size(1)};
  }
};

struct NarrowLayers : torch::autograd::Function<NarrowLayers> {
  // What a layer keeps for the way back, in this order; of a layer without a change the first alone.
  enum { TURNED, A, B, DROPPED, THIN, KEPT };

  // The factors A and B of each layer that has a change, one layer's after the other's. The last output is x.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                                                at::TensorList factors, const std::vector<NarrowLayer>& layers) {
    const at::Tensor input = x.contiguous();
    const int64_t rows = rows_of(input);
    torch::autograd::variable_list found, kept(KEPT * layers.size());
    std::vector<TileProduct> calls;
    std::vector<ThinProduct> changes;
    Packings packings;
    for (size_t i = 0; i < layers.size(); i++) {
      const NarrowLayer& layer = layers[i];
      found.push_back(like(input, layer.outputs));
      calls.push_back(product_of(input, layer.weight, layer.bias, found.back()));
      at::Tensor* own = &kept[KEPT * i];
      own[TURNED] = layer.turned;
      if (!layer.change) continue;
      const auto [scaling, key] = *layer.change;
      own[A] = factors[2 * changes.size()];
      own[B] = factors[2 * changes.size() + 1];
      own[DROPPED] = key.threshold ? at::empty_like(input) : input;
      own[THIN] = new_thin(rows, own[A].size(0), input);
      const at::Tensor down = packings.add(own[A]), up = packings.add(own[B], scaling);
      changes.push_back({input, own[DROPPED], down, own[THIN], up, key});
      calls.back().added.push_back(from_thin(changes.back().thin, changes.back().up));
      layer.change->save(context, i);
    }
    packings.pack();
    share(calls, rows, [&](int64_t begin, int64_t end) {
      for (ThinProduct& change : changes) change.compute(begin, end);
    });
    found.push_back(x);
    context->saved_data["inputs"] = x.size(-1);
    context->save_for_backward(kept);
    context->set_materialize_grads(false);
    return found;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto kept = context->get_saved_variables();
    // By the input, and by each layer's factors.
    torch::autograd::variable_list found(1), held;
    // Whose sum is the gradient by the input, but for what goes back through dropout.
    std::vector<TileTerm> terms, thin_terms;
    std::vector<DroppedGradient> dropped;
    std::vector<ChangeBack> changes;
    std::vector<FactorGradient> factors;
    Packings packings;
    const at::Tensor beside = gradients.back().defined() ? gradients.back().contiguous() : at::Tensor();
    gradients.pop_back();
    for (size_t i = 0; i < gradients.size(); i++) {
      const at::Tensor* own = &kept[KEPT * i];
      const size_t at = found.size();
      if (own[A].defined()) found.resize(at + 2);
      if (!gradients[i].defined()) continue;
      const at::Tensor gradient = gradients[i].to(at::kBFloat16).contiguous();
      terms.push_back({gradient.size(-1), values(gradient), values(own[TURNED])});
      held.push_back(gradient);
      if (!own[A].defined()) continue;
      const auto [scaling, key] = Change::saved(context, i);
      const at::Tensor down = packings.add(own[A].t());
      held.push_back(down);
      changes.emplace_back(gradient, own[B], own[DROPPED], own[THIN], scaling, packings);
      const ChangeBack& change = changes.back();
      if (key.threshold) {
        dropped.push_back({change.of_thin, down, key});
      } else {
        thin_terms.push_back(from_thin(change.of_thin, down));
      }
      if (context->needs_input_grad(at)) factors.push_back(change.of_a(found[at] = at::empty_like(own[A])));
      if (context->needs_input_grad(at + 1)) factors.push_back(change.of_b(found[at + 1] = at::empty_like(own[B]), scaling));
    }
    // For what is no tensor.
    found.emplace_back();
    if (terms.empty()) {
      found[0] = beside;
      return found;
    }
    packings.pack();
    const int64_t rows = rows_of(held[0]);
    const OfRows prepare = [&](int64_t begin, int64_t end) {
      for (ChangeBack& change : changes) change.compute(begin, end);
    };
    if (context->needs_input_grad(0)) {
      at::Tensor& of_input = found[0] = like(held[0], context->saved_data["inputs"].toInt());
      const auto [outputs, x, weight] = terms[0];
      TileProduct call = {outputs, of_input.size(-1), x, weight, nullptr, new_values(of_input)};
      call.beside = beside.defined() ? values(beside) : nullptr;
      call.added.assign(terms.begin() + 1, terms.end());
      call.added.insert(call.added.end(), thin_terms.begin(), thin_terms.end());
      share({call}, rows, prepare, [&](int64_t begin, int64_t end) {
        for (const DroppedGradient& change : dropped) change.add(of_input, begin, end);
      });
    } else {
      each_row(rows, prepare);
    }
    each_panel(factors, [](const FactorGradient& call) { return panels_of(call.width); }, factor_gradient);
    return found;
  }
};

// A layer as the caller gives it; `bias` may be null, and `a` and `b` where it has no change. Nothing is dropped
// where the threshold is 0.
struct GivenLayer {
  const at::Tensor *weight, *turned, *bias;
  int64_t outputs;
  const at::Tensor *a, *b;
  double scaling;
  uint64_t seed;
  uint32_t threshold;
};

}  // namespace

// What each of `count` layers makes of x, into `found`, and x with the gradient that it has beside theirs.
extern "C" int shim_narrow_layers(const at::Tensor* x, int64_t inputs, const GivenLayer* given, size_t count,
                                  at::Tensor** found, at::Tensor** passed) {
  try {
    std::vector<NarrowLayer> layers;
    std::vector<at::Tensor> factors;
    for (const GivenLayer* layer = given; layer < given + count; layer++) {
      check_linear(*x, layer->bias, inputs, layer->outputs);
      std::optional<Change> change;
      if (layer->a) {
        check_factors(*layer->a, *layer->b, inputs, layer->outputs);
        factors.push_back(*layer->a);
        factors.push_back(*layer->b);
        change = {layer->scaling, {layer->seed, layer->threshold}};
      }
      layers.push_back({*layer->weight, *layer->turned, maybe(layer->bias), layer->outputs, change});
    }
    const auto made = NarrowLayers::apply(x->to(at::kBFloat16), at::TensorList(factors), layers);
    for (size_t i = 0; i < count; i++) found[i] = new at::Tensor(made[i]);
    *passed = passed_on(*x, made[count]);
    return 0;
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return -1;
  }
}
