// Kernels of our own on NVIDIA GPUs: compiled by NVRTC where they are first needed, launched by the
// driver. Both libraries are opened at run time, so that a build needs no CUDA.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../keyed.h"
#include "score_rows.h"

// Kinds of numbers.
enum class Number { Float, Double, Bfloat16, Half };

// Compiles the kernels for an architecture, such as sm_90, by the NVRTC at `library`; with an empty
// name, by the one beside libtorch's CUDA. What is wrong, or nothing: then `image` is what a driver
// loads. False where there is no NVRTC.
bool compile_kernels(const std::string& library, const std::string& architecture, std::vector<char>& image,
                     std::string& wrong);

// Whether there is an NVRTC to compile with.
bool has_nvrtc();

// Where kernels are launched: in a stream of a GPU, without waiting. What is launched says what is wrong, if
// anything.
struct Place {
  int gpu;
  void* stream;
};

// Drops `count` values.
std::string drop_on_gpu(const Place& place, Number number, const void* x, void* y, int64_t count, Key key);

// The probabilities of scores, of numbers that are no doubles, with some of them dropped; `found` has two
// numbers of each row for the way back.
std::string drop_rows_on_gpu(const Place& place, Number number, const ScoreRows& all, int64_t rows, const void* scores,
                             void* dropped, float* found);

// The gradient by the scores.
std::string drop_rows_back_on_gpu(const Place& place, Number number, const ScoreRows& all, int64_t rows,
                                  const void* scores, const float* found, const void* gradient, void* by_scores);
