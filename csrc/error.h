// What the last call that failed on this thread said.
#pragma once
#include <string>
std::string& shim_error();
