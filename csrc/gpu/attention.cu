// Attention's probabilities, dropped as dropout has it: scale, bias, mask, softmax and dropout are one
// kernel each way. A row is computed by a warp.
struct Warp {
  int64_t size = 32, place = threadIdx.x % 32;
  WITHIN float sum(float x) const {
    for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(0xffffffff, x, i);
    return x;
  }
  WITHIN float largest(float x) const {
    for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, i));
    return x;
  }
};

// The rows of this thread's warp: every `step`th from `first`.
struct Rows {
  int64_t first = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x / 32;
};

template <typename T>
WITHIN void drop_rows(const ScoreRows& all, int64_t count, const T* scores, T* dropped, float* found) {
  const Rows rows;
  for (int64_t row = rows.first; row < count; row += rows.step) drop_row(all, Warp(), row, scores, dropped, found);
}

template <typename T>
WITHIN void drop_rows_back(const ScoreRows& all, int64_t count, const T* scores, const float* found, const T* gradient,
                           T* by_scores) {
  const Rows rows;
  for (int64_t row = rows.first; row < count; row += rows.step) {
    drop_row_back(all, Warp(), row, scores, found, gradient, by_scores);
  }
}

extern "C" {
__global__ void drop_rows_float(ScoreRows all, int64_t count, const float* scores, float* dropped, float* found) {
  drop_rows(all, count, scores, dropped, found);
}
__global__ void drop_rows_bfloat16(ScoreRows all, int64_t count, const Bfloat16* scores, Bfloat16* dropped,
                                   float* found) {
  drop_rows(all, count, scores, dropped, found);
}
__global__ void drop_rows_half(ScoreRows all, int64_t count, const Float16* scores, Float16* dropped, float* found) {
  drop_rows(all, count, scores, dropped, found);
}
__global__ void drop_rows_back_float(ScoreRows all, int64_t count, const float* scores, const float* found,
                                     const float* gradient, float* by_scores) {
  drop_rows_back(all, count, scores, found, gradient, by_scores);
}
__global__ void drop_rows_back_bfloat16(ScoreRows all, int64_t count, const Bfloat16* scores, const float* found,
                                        const Bfloat16* gradient, Bfloat16* by_scores) {
  drop_rows_back(all, count, scores, found, gradient, by_scores);
}
__global__ void drop_rows_back_half(ScoreRows all, int64_t count, const Float16* scores, const float* found,
                                    const Float16* gradient, Float16* by_scores) {
  drop_rows_back(all, count, scores, found, gradient, by_scores);
}
}
