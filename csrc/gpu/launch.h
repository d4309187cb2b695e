// Kernels of our own on NVIDIA GPUs: compiled by NVRTC where they are first needed, launched by the
// driver. Both libraries are opened at run time, so that a build needs no CUDA.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../keyed.h"

// Kinds of numbers, in the order of the kernels' names.
enum class Number { Float, Double, Bfloat16, Half };

// Compiles the kernels for an architecture, such as sm_90, by the NVRTC at `library`; with an empty
// name, by the one beside libtorch's CUDA. What is wrong, or nothing: then `image` is what a driver
// loads. False where there is no NVRTC.
bool compile_kernels(const std::string& library, const std::string& architecture, std::vector<char>& image,
                     std::string& wrong);

// Whether there is an NVRTC to compile with.
bool has_nvrtc();

// Drops `count` values of a GPU, in its stream, without waiting; what is wrong, if anything.
std::string drop_on_gpu(int gpu, void* stream, Number number, const void* x, void* y, int64_t count, Key key);
