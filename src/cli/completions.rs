//! `regatta completions`: what a shell completes after `regatta`.

use clap_complete::Shell;

use crate::cli::args::CompletionsArgs;
use crate::cli::parser::command;
use crate::live::terminal::output::print_line;

/// Prints the shell's completion script.
///
/// # Errors
/// If clap generates a script that is not UTF-8.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    print_line(script(args.shell)?.trim_end());
    Ok(())
}

/// The script for one shell.
fn script(shell: Shell) -> anyhow::Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "regatta", &mut script);
    Ok(String::from_utf8(script)?)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_every_subcommand_and_a_setting() {
        for &shell in Shell::value_variants() {
            let script = script(shell).unwrap();
            for subcommand in command().get_subcommands() {
                let name = subcommand.get_name();
                assert!(script.contains(name), "{shell}: {name}");
            }
            assert!(script.contains("num_clients"), "{shell}");
        }
    }
}
