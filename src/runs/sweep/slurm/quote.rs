//! Text as bash and sbatch read it.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a job's name: it becomes a part of a file's name, of which there may be 255.
const NAME: usize = 128;

/// A path as bash takes it, in one line and in UTF-8 whatever the path holds.
#[must_use]
pub fn for_bash(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.contains(char::is_control) => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        _ => escaped(path.as_os_str().as_bytes()),
    }
}

/// Bytes in bash's `$'…'`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = "$'".to_owned();
    let octal = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing to a string does not fail.
            let _ = write!(text, "\\{byte:03o}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                c if c.is_control() || matches!(c, '\'' | '\\') => {
                    octal(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                c => text.push(c),
            }
        }
        octal(&mut text, chunk.invalid());
    }
    text + "'"
}

/// A job's name as an `#SBATCH` line takes it, in quotes. What ends a line or a quotation there,
/// or is a folder or a pattern in the name of the log (`%x`), becomes `-`.
pub(crate) fn for_directive(name: &str) -> String {
    let unusable = |c: char| c.is_control() || matches!(c, '"' | '\\' | '/' | '%');
    let mut usable = name.trim().replace(unusable, "-");
    let end = (0..=NAME).rev().find(|at| usable.is_char_boundary(*at));
    if usable.len() > NAME {
        usable.truncate(end.unwrap_or(0));
    }
    let usable = usable.trim();
    format!("\"{}\"", if usable.is_empty() { "regatta" } else { usable })
}
