//! The program `regatta`; see [`regatta::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    regatta::base::machine::environment::set_for_all();
    regatta::base::allocator::keep_what_is_freed();
    regatta::live::ports::bounds::raise_limit();
    regatta::cli::main(std::env::args_os())
}
