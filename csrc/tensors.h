// What is asked of tensors before a kernel for CPUs reads them where they lie.
#pragma once
#include <ATen/core/Tensor.h>

// Whether these are values on a CPU, in float32 or bfloat16.
inline bool is_float_or_bfloat16(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// Whether these are frozen values on a CPU, in float32, side by side.
inline bool is_plain(const at::Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous() && !x.requires_grad();
}
