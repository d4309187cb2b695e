// All that calls libtorch, in one translation unit: its headers take a compiler far longer to read
// than what stands here.
#include "autograd.cpp"
#include "decoding.cpp"
#include "info.cpp"
#include "joint.cpp"
#include "narrow.cpp"
#include "quantised.cpp"
#include "shim.cpp"
