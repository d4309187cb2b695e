// Dropout as csrc/dropout.cpp has it: the same bits on any GPU, whatever the grid.
template <typename T, typename Wide>
WITHIN void drop_words(const T* x, T* y, int64_t count, uint64_t seed, uint32_t threshold) {
  const Key key = {seed, threshold};
  const Wide scale = static_cast<Wide>(1.0 / key.keep());
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  int64_t word = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; 4 * word < count; word += step) drop_word<T, Wide>(x, y, word, count, key, scale);
}

extern "C" {
__global__ void drop_float(const float* x, float* y, int64_t count, uint64_t seed, uint32_t threshold) {
  drop_words<float, float>(x, y, count, seed, threshold);
}
__global__ void drop_double(const double* x, double* y, int64_t count, uint64_t seed, uint32_t threshold) {
  drop_words<double, double>(x, y, count, seed, threshold);
}
__global__ void drop_bfloat16(const Bfloat16* x, Bfloat16* y, int64_t count, uint64_t seed, uint32_t threshold) {
  drop_words<Bfloat16, float>(x, y, count, seed, threshold);
}
__global__ void drop_half(const Float16* x, Float16* y, int64_t count, uint64_t seed, uint32_t threshold) {
  drop_words<Float16, float>(x, y, count, seed, threshold);
}
}
