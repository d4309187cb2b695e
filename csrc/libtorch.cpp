// All that calls libtorch, in one translation unit: its headers take a compiler far longer to read
// than what stands here.
#include "activation.cpp"
#include "autograd.cpp"
#include "decoding.cpp"
#include "gpu_attention.cpp"
#include "info.cpp"
#include "loss.cpp"
#include "narrow.cpp"
#include "norm.cpp"
#include "low_rank.cpp"
#include "narrow_layers.cpp"
#include "narrow_sequential.cpp"
#include "positions.cpp"
#include "quantised.cpp"
#include "self_attention.cpp"
#include "shim.cpp"
// Several batches, by what is above.
#include "joint.cpp"
