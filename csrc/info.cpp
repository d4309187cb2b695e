// What libtorch says about itself and the devices, for `regatta doctor`.
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

namespace {
// Copies a text into the caller's buffer, cut to fit and ended by a zero.
void give(const std::string& text, char* out, size_t size) {
  const size_t length = std::min(text.size(), size - 1);
  std::memcpy(out, text.data(), length);
  out[length] = '\0';
}

// A function of the NVIDIA driver's library, which is asked by name: no CUDA is needed to build this.
template <typename F>
F* of_driver(const char* name) {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return library ? reinterpret_cast<F*>(dlsym(library, name)) : nullptr;
}
}  // namespace

extern "C" {
// The NVIDIA driver: 0 and the newest CUDA that it runs (13000 for 13.0) with the number of its GPUs,
// a code of CUDA's where it does not start, or -1 where there is none.
int regatta_cuda_driver(int* newest, int* count) {
  const auto init = of_driver<int(unsigned)>("cuInit");
  const auto version = of_driver<int(int*)>("cuDriverGetVersion");
  const auto devices = of_driver<int(int*)>("cuDeviceGetCount");
  if (!init || !version || !devices) return -1;
  if (const int code = init(0)) return code;
  if (const int code = version(newest)) return code;
  return devices(count);
}

// One of its GPUs: a name, both numbers of the compute capability with the multiprocessors, and a UUID.
int regatta_cuda_gpu(int number, char* name, int size, int* facts, uint8_t* uuid) {
  const auto get = of_driver<int(int*, int)>("cuDeviceGet");
  const auto name_of = of_driver<int(char*, int, int)>("cuDeviceGetName");
  const auto attribute = of_driver<int(int*, int, int)>("cuDeviceGetAttribute");
  auto uuid_of = of_driver<int(uint8_t*, int)>("cuDeviceGetUuid_v2");
  if (!uuid_of) uuid_of = of_driver<int(uint8_t*, int)>("cuDeviceGetUuid");
  if (!get || !name_of || !attribute || !uuid_of) return -1;
  int device = 0;
  if (const int code = get(&device, number)) return code;
  if (const int code = name_of(name, size, device)) return code;
  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
  const int asked[] = {75, 76, 16};
  for (int i = 0; i < 3; i++) {
    if (const int code = attribute(&facts[i], asked[i], device)) return code;
  }
  return uuid_of(uuid, device);
}

// The first look at this thread's number of threads by what is compiled here: the header that it stands in
// has every library look for itself.
void regatta_look_at_threads() { at::internal::lazy_init_num_threads(); }

// Among how many threads a kernel that is called from this thread shares its work.
int regatta_sharing_threads() {
  std::atomic<int> shares{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&shares](int64_t, int64_t) { shares++; });
  return shares;
}

// Does `work` for numbers 0 to `count`, on the threads that an operation of this thread would share its work among.
// It must not throw.
void regatta_share(int64_t count, void (*work)(const void*, int64_t), const void* context) {
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at++) work(context, at);
  });
}

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
