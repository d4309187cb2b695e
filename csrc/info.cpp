// What libtorch says about itself and the devices, for `regatta doctor`.
#include <ATen/DeviceAccelerator.h>
#include <ATen/Version.h>
#include <algorithm>
#include <cstring>
#include <string>

namespace {
// Copies a text into the caller's buffer, cut to fit and ended by a zero.
void give(const std::string& text, char* out, size_t size) {
  const size_t length = std::min(text.size(), size - 1);
  std::memcpy(out, text.data(), length);
  out[length] = '\0';
}
}  // namespace

extern "C" {
// How libtorch was built; 0, or -1 when that is not known.
int regatta_torch_config(char* out, size_t size) {
  try {
    give(at::show_config(), out, size);
    return 0;
  } catch (const std::exception&) {
    return -1;
  }
}

// The vector instructions that libtorch uses on this processor.
int regatta_cpu_capability(char* out, size_t size) {
  try {
    give(at::get_cpu_capability(), out, size);
    return 0;
  } catch (const std::exception&) {
    return -1;
  }
}

// Free and total bytes of a CUDA device.
int regatta_cuda_memory(int device, uint64_t* free_bytes, uint64_t* total_bytes) {
  try {
    const auto memory =
        at::getDeviceAllocator(at::kCUDA)->getMemoryInfo(static_cast<c10::DeviceIndex>(device));
    *free_bytes = memory.first;
    *total_bytes = memory.second;
    return 0;
  } catch (const std::exception&) {
    return -1;
  }
}
}
