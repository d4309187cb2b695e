// The compiler comes here when libtorch's header of this name is nowhere (.cargo/config.toml names
// this folder as the last place to look), and ends with the message that this line gives it.
#include "libtorch is missing: run `make setup`"
