//! How flags may be spelled, and arguments that are not UTF-8.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, Command};

/// Makes `--agg-type` into `--agg_type`, and `--save_projection true` into
/// `--save_projection=true`; what follows `--` stays as it is.
pub(crate) fn normalise(
    args: impl IntoIterator<Item = OsString>,
    switches: &BTreeSet<String>,
) -> Vec<OsString> {
    let mut args = args.into_iter().peekable();
    let mut normal = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            normal.push(arg);
            normal.extend(args);
            break;
        }
        let Some(flag) = underscored(&arg) else {
            normal.push(arg);
            continue;
        };
        let literal = |value: &OsString| {
            value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
        };
        let is_switch = flag.to_str().is_some_and(|flag| switches.contains(flag));
        let value = args.next_if(|value| is_switch && literal(value));
        normal.push(match value {
            Some(value) => joined(&flag, &value),
            None => flag,
        });
    }
    normal
}

/// A long flag with underscores in its name; `None` when it is not a long flag.
fn underscored(arg: &OsStr) -> Option<OsString> {
    match flag_and_value(arg) {
        Some((flag, value)) => Some(joined(
            flag.replace('-', "_").replacen("__", "--", 1),
            value,
        )),
        None => {
            let name = arg.to_str()?.strip_prefix("--")?;
            (!name.is_empty()).then(|| format!("--{}", name.replace('-', "_")).into())
        }
    }
}

/// A long flag that has its value with it, which may be any bytes: `--out`, `results`.
fn flag_and_value(arg: &OsStr) -> Option<(&str, &OsStr)> {
    let bytes = arg.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b'=')?;
    let flag = std::str::from_utf8(&bytes[..end]).ok()?;
    flag.starts_with("--")
        .then(|| (flag, OsStr::from_bytes(&bytes[end + 1..])))
}

fn joined(flag: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> OsString {
    let mut joined = flag.as_ref().to_owned();
    joined.push("=");
    joined.push(value);
    joined
}

/// The error that names the first argument which is not UTF-8 and should be. Paths need not be
/// here; those that have to be are refused later.
pub(crate) fn not_text(command: &mut Command, args: &[OsString]) -> Option<clap::Error> {
    let is_path = |flag: &str| {
        let subcommands = command.get_subcommands();
        let arguments = subcommands.flat_map(Command::get_arguments);
        let mut arguments = arguments.chain(command.get_arguments());
        arguments
            .any(|argument| argument.get_long() == flag.strip_prefix("--") && takes_path(argument))
    };
    let before = std::iter::once(None).chain(args.iter().map(Some));
    let (place, value) = before.zip(args).find_map(|(before, arg)| {
        if arg.to_str().is_some() {
            return None;
        }
        let (flag, value) = match flag_and_value(arg) {
            Some((flag, value)) => (flag, value),
            None => (before.and_then(|flag| flag.to_str())?, arg.as_os_str()),
        };
        (flag.starts_with("--") && !is_path(flag)).then(|| (flag.to_owned(), value.to_owned()))
    })?;
    let text = format!("{place}={}: not UTF-8; rename it\n", value.display());
    Some(command.error(ErrorKind::InvalidUtf8, text))
}

/// Whether an argument is a path, which may be any bytes.
pub(crate) fn takes_path(argument: &Arg) -> bool {
    argument.get_value_parser().type_id() == TypeId::of::<PathBuf>()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    /// A flag that takes a value.
    struct Flag {
        subcommand: String,
        long: String,
        is_path: bool,
        /// It may stand alone; what follows is then not its value.
        is_switch: bool,
    }

    fn flags() -> Vec<Flag> {
        let command = Cli::command();
        let global = || command.get_arguments().filter(|flag| flag.is_global_set());
        let mut flags = Vec::new();
        for subcommand in command.get_subcommands() {
            for argument in subcommand.get_arguments().chain(global()) {
                let takes_value = argument.get_action().takes_values();
                if let Some(long) = argument.get_long().filter(|_| takes_value) {
                    flags.push(Flag {
                        subcommand: subcommand.get_name().to_owned(),
                        long: long.to_owned(),
                        is_path: takes_path(argument),
                        is_switch: argument.get_value_parser().type_id() == TypeId::of::<bool>()
                            || argument.is_require_equals_set(),
                    });
                }
            }
        }
        flags
    }

    /// The error for a command line.
    fn refused(line: &[OsString]) -> Option<(ErrorKind, String)> {
        let line = std::iter::once("regatta".into()).chain(line.iter().cloned());
        let error = Cli::from_args(line).err()?;
        Some((error.kind(), error.to_string()))
    }

    #[test]
    fn a_value_that_is_no_text_is_taken_as_a_path_or_refused_with_the_flags_name() {
        let value = OsStr::from_bytes(b"caf\xe9");
        let flags = flags();
        assert!(flags.iter().filter(|flag| flag.is_path).count() > 15);
        for flag in flags {
            for long in [flag.long.clone(), flag.long.replace('_', "-")] {
                let subcommand: OsString = flag.subcommand.clone().into();
                let spelt: OsString = format!("--{long}").into();
                let together = vec![subcommand.clone(), joined(&spelt, value)];
                let apart = vec![subcommand, spelt, value.to_owned()];
                let lines = [Some(together), (!flag.is_switch).then_some(apart)];
                for line in lines.into_iter().flatten() {
                    let said = refused(&line);
                    if flag.is_path {
                        let kind = said.map(|(kind, _)| kind);
                        let wrong = [ErrorKind::InvalidUtf8, ErrorKind::UnknownArgument];
                        assert!(!kind.is_some_and(|kind| wrong.contains(&kind)), "{line:?}");
                    } else {
                        let (_, text) = said.unwrap_or_else(|| panic!("{line:?} is taken"));
                        assert!(
                            text.contains(&format!("--{}", flag.long)),
                            "{line:?}: {text}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_path_may_hold_any_bytes_whichever_way_its_flag_is_spelt() {
        let arg = OsStr::from_bytes(b"--log-file=a-\xe9=b");
        let normal = normalise([arg.to_owned()], &BTreeSet::new());
        assert_eq!(normal, [OsStr::from_bytes(b"--log_file=a-\xe9=b")]);
        let kept = ["-v", "--", "--a-b=c"].map(OsString::from);
        assert_eq!(normalise(kept.clone(), &BTreeSet::new()), kept);
    }
}
