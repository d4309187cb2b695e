// Linear layers whose frozen weight is held in fewer bits: it is brought to float32 where it is multiplied,
// forward and again backward, and forgotten at once.
#include <ATen/ops/add.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>

#include <mutex>
#include <unordered_map>

namespace {

// A weight, (rows, columns), as it is held: codes and what they are multiplied by, and what was added to
// the weight since, in float32.
struct HeldWeight {
  at::Tensor codes, scales, added;
  Form form;
  int64_t rows, columns;

  int64_t numel() const { return rows * columns; }

  void check() const {
    const int64_t codes_wanted = form == Form::NF4 ? (numel() + 1) / 2 : numel();
    const auto kind = form == Form::NF4 ? at::kByte : form == Form::INT8 ? at::kChar : at::kBFloat16;
    TORCH_CHECK(rows > 0 && columns > 0 && codes.numel() == codes_wanted && codes.scalar_type() == kind &&
                    codes.is_contiguous(),
                codes.numel(), " codes of ", codes.scalar_type(), " for a weight of (", rows, ", ", columns, ")");
    const int64_t wanted = form == Form::NF4 ? (numel() + NF4_BLOCK - 1) / NF4_BLOCK : form == Form::INT8 ? rows : 0;
    const int64_t got = scales.defined() ? scales.numel() : 0;
    const bool plain = !scales.defined() || (scales.scalar_type() == at::kFloat && scales.is_contiguous());
    TORCH_CHECK(got == wanted && plain, got, " scales for a weight of (", rows, ", ", columns, ")");
    TORCH_CHECK(!added.defined() || (added.dim() == 2 && added.size(0) == rows && added.size(1) == columns),
                "what was added to a weight of (", rows, ", ", columns, ") has shape ",
                added.defined() ? added.sizes() : at::IntArrayRef{});
  }

  // In that kind. Of bfloat16 nothing is converted where nothing was added.
  at::Tensor as(at::ScalarType kind) const {
    if (form == Form::BFLOAT16 && kind == at::kBFloat16 && !added.defined()) return codes.view({rows, columns});
    return dense().to(kind);
  }

  // In float32.
  at::Tensor dense() const {
    at::Tensor weight = codes.device().is_cpu() ? by_kernel() : by_operations();
    if (added.defined()) weight.add_(added);
    return weight;
  }

  at::Tensor by_kernel() const {
    at::Tensor weight = at::empty({rows, columns}, at::TensorOptions().dtype(at::kFloat));
    const Quantised held = {form, columns, codes.const_data_ptr(),
                            scales.defined() ? scales.const_data_ptr<float>() : nullptr};
    float* to = weight.mutable_data_ptr<float>();
    const int64_t blocks = (numel() + NF4_BLOCK - 1) / NF4_BLOCK;
    at::parallel_for(0, blocks, 512, [&](int64_t first, int64_t last) {
      const int64_t begin = first * NF4_BLOCK;
      dequantise(held, to + begin, begin, std::min(last * NF4_BLOCK, numel()));
    });
    return weight;
  }

  // The same by libtorch's operations, for other devices.
  at::Tensor by_operations() const {
    if (form == Form::BFLOAT16) return codes.view({rows, columns}).to(at::kFloat);
    if (form == Form::INT8) return codes.view({rows, columns}).to(at::kFloat).mul_(scales.view({rows, 1}));
    at::Tensor weight = at::empty({numel()}, codes.options().dtype(at::kFloat));
    const at::Tensor table = nf4_table(codes.device());
    // Some at a time: the codes as numbers to look up have eight times the bytes of the values' halves.
    constexpr int64_t AT_ONCE = int64_t{1} << 22;
    for (int64_t begin = 0; begin < numel(); begin += AT_ONCE) {
      const int64_t length = std::min(AT_ONCE, numel() - begin), blocks = (length + NF4_BLOCK - 1) / NF4_BLOCK;
      const at::Tensor bytes = codes.narrow(0, begin / 2, (length + 1) / 2);
      const at::Tensor halves = at::stack({at::bitwise_right_shift(bytes, 4), at::bitwise_and(bytes, 15)}, 1);
      at::Tensor values = at::index_select(table, 0, halves.flatten().to(at::kInt));
      values = at::constant_pad_nd(values, {0, blocks * NF4_BLOCK - values.numel()});
      const at::Tensor own = scales.narrow(0, begin / NF4_BLOCK, blocks).view({blocks, 1});
      weight.narrow(0, begin, length).copy_(values.view({blocks, NF4_BLOCK}).mul_(own).flatten().narrow(0, 0, length));
    }
    return weight.view({rows, columns});
  }

  // The values of the codes, once on each device.
  static at::Tensor nf4_table(at::Device device) {
    // Never destroyed: at the program's end a device may be gone before its tensors.
    static auto& tables = *new std::unordered_map<at::Device, at::Tensor>;
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = tables.find(device);
    if (found != tables.end()) return found->second;
    const at::Tensor host = at::from_blob(const_cast<float*>(NF4_VALUES), {16}, at::TensorOptions().dtype(at::kFloat));
    return tables.emplace(device, host.to(device, at::kFloat, false, true)).first->second;
  }
};

// Autograd keeps the codes alone: neither the values forward nor those backward outlive their product.
struct QuantisedLinear : torch::autograd::Function<QuantisedLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& codes,
                            const std::optional<at::Tensor>& scales, const std::optional<at::Tensor>& added,
                            const std::optional<at::Tensor>& bias, int64_t form, int64_t rows, int64_t columns) {
    const HeldWeight held = {codes,   scales.value_or(at::Tensor()), added.value_or(at::Tensor()), static_cast<Form>(form),
                             rows,    columns};
    held.check();
    const bool mixed = at::autocast::is_autocast_enabled(x.device().type());
    const at::ScalarType kind = mixed ? at::autocast::get_autocast_dtype(x.device().type()) : x.scalar_type();
    const at::Tensor weight = held.as(kind), input = x.to(kind);
    const auto own_bias = bias ? std::optional<at::Tensor>(bias->to(kind)) : std::nullopt;
    const bool one_dnn = suits_one_dnn(input, weight, own_bias);
    context->save_for_backward({held.codes, held.scales, held.added});
    context->saved_data["form"] = form;
    context->saved_data["rows"] = rows;
    context->saved_data["columns"] = columns;
    context->saved_data["kind"] = static_cast<int64_t>(kind);
    context->saved_data["one_dnn"] = one_dnn;
    if (one_dnn) return product(input, weight, own_bias);
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    return at::linear(input, weight, own_bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::autograd::variable_list found(8);
    if (!context->needs_input_grad(0)) return found;
    const auto saved = context->get_saved_variables();
    const HeldWeight held = {saved[0],
                             saved[1],
                             saved[2],
                             static_cast<Form>(context->saved_data["form"].toInt()),
                             context->saved_data["rows"].toInt(),
                             context->saved_data["columns"].toInt()};
    const auto kind = static_cast<at::ScalarType>(context->saved_data["kind"].toInt());
    const at::Tensor weight = held.as(kind);
    if (context->saved_data["one_dnn"].toBool()) {
      found[0] = product(gradients[0], weight.t(), std::nullopt);
    } else {
      at::AutoDispatchBelowADInplaceOrView below_autograd;
      found[0] = at::matmul(gradients[0].to(kind), weight);
    }
    return found;
  }
};

std::optional<at::Tensor> given(const at::Tensor* tensor) {
  return tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt;
}

}  // namespace

// x Wᵀ + bias; `scales`, `added` and `bias` may be null. A bias that is trained is added on its own.
extern "C" at::Tensor* shim_quantised_linear(const at::Tensor* x, const at::Tensor* codes, const at::Tensor* scales,
                                             const at::Tensor* added, const at::Tensor* bias, int64_t form,
                                             int64_t rows, int64_t columns) {
  try {
    const bool trained = bias && bias->requires_grad();
    const auto frozen = trained ? std::nullopt : given(bias);
    at::Tensor y = QuantisedLinear::apply(*x, *codes, given(scales), given(added), frozen, form, rows, columns);
    if (trained) y = at::add(y, bias->to(y.scalar_type()));
    return new at::Tensor(std::move(y));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}

// The weight in float32, by the processor's kernel or as on other devices.
extern "C" at::Tensor* shim_dequantise(const at::Tensor* codes, const at::Tensor* scales, const at::Tensor* added,
                                       int64_t form, int64_t rows, int64_t columns, bool by_operations) {
  try {
    at::NoGradGuard no_gradients;
    const HeldWeight held = {*codes,
                             given(scales).value_or(at::Tensor()),
                             given(added).value_or(at::Tensor()),
                             static_cast<Form>(form),
                             rows,
                             columns};
    held.check();
    return new at::Tensor(by_operations ? held.by_operations() : held.dense());
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}

// A tensor over memory of the caller's, which `release` is told of when nobody needs it any more.
extern "C" at::Tensor* shim_share(void* memory, const int64_t* sizes, size_t dimensions, int kind, void* owner,
                                  void (*release)(void*)) {
  try {
    const auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(kind));
    const at::IntArrayRef shape(sizes, dimensions);
    return new at::Tensor(at::from_blob(memory, shape, [owner, release](void*) { release(owner); }, options));
  } catch (const std::exception& error) {
    shim_error() = error.what();
    return nullptr;
  }
}
