#include "launch.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <type_traits>

// CUDA_SOURCE, which the build makes of the files here.
#include "cuda_source.h"

namespace {

template <typename F>
F* function(void* library, const char* name) {
  return library ? reinterpret_cast<F*>(dlsym(library, name)) : nullptr;
}

// The file of CUDA's runtime that libtorch loaded; empty without CUDA.
std::string cuda_runtime() {
  std::ifstream files("/proc/self/maps");
  for (std::string line; std::getline(files, line);) {
    if (line.find("/libcudart.so.") != std::string::npos) return line.substr(line.find('/'));
  }
  return "";
}

// Where NVRTC may be: beside the runtime, as in the wheels for CUDA 13, in a folder of its own, as in
// those for CUDA 12, or where the system looks.
std::vector<std::string> places_of_nvrtc() {
  const std::string runtime = cuda_runtime();
  const size_t slash = runtime.rfind('/');
  std::vector<std::string> found;
  if (slash != std::string::npos) {
    const std::string folder = runtime.substr(0, slash);
    const std::string version = runtime.substr(runtime.find(".so.") + 4);
    const std::string name = "libnvrtc.so." + version.substr(0, version.find('.'));
    found = {folder + "/" + name, folder + "/../../cuda_nvrtc/lib/" + name, name};
  }
  found.insert(found.end(), {"libnvrtc.so.13", "libnvrtc.so.12"});
  return found;
}

// NVRTC opens another library of its own by name when it compiles, and does not look beside itself:
// that one is opened by its path before.
void open_builtins(void* nvrtc) {
  Dl_info info;
  void* const symbol = dlsym(nvrtc, "nvrtcVersion");
  if (!symbol || !dladdr(symbol, &info)) return;
  std::error_code failed;
  const auto folder = std::filesystem::path(info.dli_fname).parent_path();
  for (const auto& file : std::filesystem::directory_iterator(folder, failed)) {
    const std::string name = file.path().filename();
    if (name.rfind("libnvrtc-builtins.so", 0) == 0) dlopen(file.path().c_str(), RTLD_NOW | RTLD_LOCAL);
  }
}

void* open_at(const std::string& place) {
  void* const nvrtc = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (nvrtc) open_builtins(nvrtc);
  return nvrtc;
}

void* open_nvrtc(const std::string& library) {
  if (!library.empty()) return open_at(library);
  static void* const found = []() -> void* {
    for (const auto& place : places_of_nvrtc()) {
      if (void* opened = open_at(place)) return opened;
    }
    return nullptr;
  }();
  return found;
}

// The functions of NVRTC that are called. A program is a pointer, 0 is success.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile)(Program, int, const char* const*);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*cubin_size)(Program, size_t*);
  int (*cubin)(Program, char*);
  int (*ptx_size)(Program, size_t*);
  int (*ptx)(Program, char*);
  int (*destroy)(Program*);

  explicit Nvrtc(void* library)
      : create(function<std::remove_pointer_t<decltype(create)>>(library, "nvrtcCreateProgram")),
        compile(function<std::remove_pointer_t<decltype(compile)>>(library, "nvrtcCompileProgram")),
        log_size(function<std::remove_pointer_t<decltype(log_size)>>(library, "nvrtcGetProgramLogSize")),
        log(function<std::remove_pointer_t<decltype(log)>>(library, "nvrtcGetProgramLog")),
        cubin_size(function<std::remove_pointer_t<decltype(cubin_size)>>(library, "nvrtcGetCUBINSize")),
        cubin(function<std::remove_pointer_t<decltype(cubin)>>(library, "nvrtcGetCUBIN")),
        ptx_size(function<std::remove_pointer_t<decltype(ptx_size)>>(library, "nvrtcGetPTXSize")),
        ptx(function<std::remove_pointer_t<decltype(ptx)>>(library, "nvrtcGetPTX")),
        destroy(function<std::remove_pointer_t<decltype(destroy)>>(library, "nvrtcDestroyProgram")) {}

  bool is_whole() const {
    return create && compile && log_size && log && cubin_size && cubin && ptx_size && ptx && destroy;
  }

  // Machine code for an architecture of devices (sm_90), else code that a driver translates
  // (compute_90). Ended by a zero, as the driver wants the latter.
  std::string build(const std::string& architecture, std::vector<char>& image) const {
    Program program = nullptr;
    if (create(&program, CUDA_SOURCE, "regatta.cu", 0, nullptr, nullptr)) return "NVRTC takes no program";
    const std::string target = "--gpu-architecture=" + architecture;
    const char* const options[] = {target.c_str(), "--std=c++17"};
    std::string wrong;
    size_t size = 0;
    if (compile(program, 2, options)) {
      log_size(program, &size);
      std::vector<char> text(size + 1, '\0');
      log(program, text.data());
      wrong = "NVRTC does not compile for " + architecture + ": " + text.data();
    } else {
      const bool machine = architecture.rfind("sm_", 0) == 0;
      const bool failed = machine ? cubin_size(program, &size) : ptx_size(program, &size);
      image.assign(size + 1, '\0');
      if (failed || (machine ? cubin : ptx)(program, image.data())) wrong = "NVRTC gives no program back";
    }
    destroy(&program);
    return wrong;
  }
};

// The functions of the driver that are called, 0 being success.
struct CudaDriver {
  int (*device)(int*, int);
  int (*attribute)(int*, int, int);
  int (*retain)(void**, int);
  int (*push)(void*);
  int (*pop)(void**);
  int (*load)(void**, const void*);
  int (*find)(void**, void*, const char*);
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
  int (*error)(int, const char**);

  CudaDriver() {
    void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    device = function<int(int*, int)>(library, "cuDeviceGet");
    attribute = function<int(int*, int, int)>(library, "cuDeviceGetAttribute");
    retain = function<int(void**, int)>(library, "cuDevicePrimaryCtxRetain");
    push = function<int(void*)>(library, "cuCtxPushCurrent_v2");
    pop = function<int(void**)>(library, "cuCtxPopCurrent_v2");
    load = function<int(void**, const void*)>(library, "cuModuleLoadData");
    find = function<int(void**, void*, const char*)>(library, "cuModuleGetFunction");
    launch = function<std::remove_pointer_t<decltype(launch)>>(library, "cuLaunchKernel");
    error = function<int(int, const char**)>(library, "cuGetErrorString");
  }

  bool is_whole() const { return device && attribute && retain && push && pop && load && find && launch && error; }

  // In the words that libtorch has for such errors.
  std::string said(int code) const {
    const char* text = nullptr;
    error(code, &text);
    return std::string("CUDA driver error: ") + (text ? text : "unknown");
  }
};

const CudaDriver& driver() {
  static const CudaDriver found;
  return found;
}

// The module of the kernels on a GPU, and the context that libtorch uses there.
struct Loaded {
  void* context = nullptr;
  void* module = nullptr;
  std::string wrong;
};

std::string load_in_context(int device, Loaded& loaded) {
  int major = 0, minor = 0;
  driver().attribute(&major, 75, device);
  driver().attribute(&minor, 76, device);
  std::vector<char> image;
  std::string wrong;
  const std::string number = std::to_string(major) + std::to_string(minor);
  // For what this NVRTC does not know yet, what the driver translates.
  if (!compile_kernels("", "sm_" + number, image, wrong) || !wrong.empty()) {
    wrong.clear();
    if (!compile_kernels("", "compute_75", image, wrong)) return "libnvrtc is not there";
    if (!wrong.empty()) return wrong;
  }
  if (const int code = driver().load(&loaded.module, image.data())) return driver().said(code);
  return "";
}

Loaded load(int gpu) {
  Loaded loaded;
  int device = 0;
  if (!driver().is_whole()) {
    loaded.wrong = "the NVIDIA driver lacks functions";
  } else if (const int code = driver().device(&device, gpu)) {
    loaded.wrong = driver().said(code);
  } else if (const int code = driver().retain(&loaded.context, device)) {
    loaded.wrong = driver().said(code);
  } else if (const int code = driver().push(loaded.context)) {
    loaded.wrong = driver().said(code);
  } else {
    loaded.wrong = load_in_context(device, loaded);
    void* popped = nullptr;
    driver().pop(&popped);
  }
  return loaded;
}

// A failure is not remembered: where memory was short, there may be some once a lane has freed its own.
Loaded loaded_on(int gpu) {
  static std::mutex one_at_a_time;
  static std::map<int, Loaded> all;
  const std::lock_guard<std::mutex> guard(one_at_a_time);
  const auto found = all.find(gpu);
  if (found != all.end()) return found->second;
  const Loaded loaded = load(gpu);
  if (loaded.wrong.empty()) all.emplace(gpu, loaded);
  return loaded;
}

// Launches the kernel of a name with as many threads as there is work for, of which all have a turn.
std::string launch(const Place& place, const std::string& name, int64_t work, void** arguments) {
  const Loaded loaded = loaded_on(place.gpu);
  if (!loaded.wrong.empty()) return loaded.wrong;
  constexpr int64_t threads = 256, most_blocks = 1 << 20;
  const auto blocks = static_cast<unsigned>(std::min((work + threads - 1) / threads, most_blocks));
  if (const int code = driver().push(loaded.context)) return driver().said(code);
  void *kernel = nullptr, *popped = nullptr;
  int code = driver().find(&kernel, loaded.module, name.c_str());
  if (!code) code = driver().launch(kernel, blocks, 1, 1, threads, 1, 1, 0, place.stream, arguments, nullptr);
  driver().pop(&popped);
  return code ? driver().said(code) : "";
}

std::string named(const char* kernel, Number number) {
  const char* const kinds[] = {"_float", "_double", "_bfloat16", "_half"};
  return std::string(kernel) + kinds[static_cast<int>(number)];
}

// Threads of the warp that has a row.
constexpr int64_t WARP = 32;

}  // namespace

bool has_nvrtc() { return Nvrtc(open_nvrtc("")).is_whole(); }

bool compile_kernels(const std::string& library, const std::string& architecture, std::vector<char>& image,
                     std::string& wrong) {
  const Nvrtc nvrtc(open_nvrtc(library));
  if (!nvrtc.is_whole()) return false;
  wrong = nvrtc.build(architecture, image);
  return true;
}

std::string drop_on_gpu(const Place& place, Number number, const void* x, void* y, int64_t count, Key key) {
  if (count == 0) return "";
  uint64_t seed = key.seed;
  uint32_t threshold = key.threshold;
  void* arguments[] = {&x, &y, &count, &seed, &threshold};
  return launch(place, named("drop", number), (count + 3) / 4, arguments);
}

std::string drop_rows_on_gpu(const Place& place, Number number, const ScoreRows& all, int64_t rows, const void* scores,
                             void* dropped, float* found) {
  if (rows == 0 || all.tokens == 0) return "";
  ScoreRows given = all;
  void* arguments[] = {&given, &rows, &scores, &dropped, &found};
  return launch(place, named("drop_rows", number), rows * WARP, arguments);
}

std::string drop_rows_back_on_gpu(const Place& place, Number number, const ScoreRows& all, int64_t rows,
                                  const void* scores, const float* found, const void* gradient, void* by_scores) {
  if (rows == 0 || all.tokens == 0) return "";
  ScoreRows given = all;
  void* arguments[] = {&given, &rows, &scores, &found, &gradient, &by_scores};
  return launch(place, named("drop_rows_back", number), rows * WARP, arguments);
}
