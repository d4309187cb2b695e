//! Home folders and variables in paths, as Python's `expanduser` and `expandvars` have them.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Variables and users' home folders.
pub(crate) struct Environment<'a> {
    pub variable: &'a dyn Fn(&OsStr) -> Option<OsString>,
    /// The home folder of the user of a name, or of the current user.
    pub home: &'a dyn Fn(Option<&OsStr>) -> Option<PathBuf>,
}

impl Environment<'_> {
    /// Expands a leading home folder, then variables.
    pub fn expand(&self, path: &OsStr) -> PathBuf {
        self.expand_variables(self.expand_user(path)).into()
    }

    /// Puts the home folder for a leading `~` or `~user`.
    fn expand_user(&self, path: &OsStr) -> OsString {
        let bytes = path.as_bytes();
        let Some(rest) = bytes.strip_prefix(b"~") else {
            return path.to_owned();
        };
        let end = rest.iter().position(|byte| *byte == b'/');
        let (user, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let user = (!user.is_empty()).then(|| OsStr::from_bytes(user));
        let Some(home) = self.user_home(user) else {
            return path.to_owned();
        };
        let mut expanded = home.into_vec();
        while expanded.last() == Some(&b'/') {
            expanded.pop();
        }
        expanded.extend_from_slice(rest);
        if expanded.is_empty() {
            expanded.push(b'/');
        }
        OsString::from_vec(expanded)
    }

    /// The home folder of a user, or of the current one, by `HOME` first.
    pub fn user_home(&self, user: Option<&OsStr>) -> Option<OsString> {
        let own = || {
            user.is_none()
                .then(|| (self.variable)(OsStr::new("HOME")))?
        };
        let home = own().or_else(|| Some((self.home)(user)?.into_os_string()))?;
        // An empty HOME is the root.
        let is_empty = home.is_empty();
        Some(if is_empty { "/".into() } else { home })
    }

    /// Puts the values for `$NAME` and `${NAME}`, and does not look into them again.
    fn expand_variables(&self, path: OsString) -> OsString {
        let bytes = path.as_bytes();
        let mut expanded = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((first, behind)) = rest.split_first() {
            let found = (*first == b'$').then(|| reference(behind)).flatten();
            let value = found.and_then(|(name, length)| {
                Some(((self.variable)(OsStr::from_bytes(name))?, length))
            });
            if let Some((value, length)) = value {
                expanded.extend_from_slice(value.as_bytes());
                rest = &behind[length..];
            } else {
                expanded.push(*first);
                rest = behind;
            }
        }
        OsString::from_vec(expanded)
    }
}

/// The name of the variable that the text after a `$` refers to, and the reference's length.
fn reference(text: &[u8]) -> Option<(&[u8], usize)> {
    if let Some(braced) = text.strip_prefix(b"{") {
        let length = braced.iter().position(|byte| *byte == b'}')?;
        return Some((&braced[..length], length + 2));
    }
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = text.iter().take_while(|byte| is_of_name(byte)).count();
    (length > 0).then(|| (&text[..length], length))
}

/// The home folder of a user by the system's list of users.
pub(crate) fn home_of(user: Option<&OsStr>) -> Option<PathBuf> {
    let Some(user) = user else {
        return std::env::home_dir();
    };
    let name = CString::new(user.as_bytes()).ok()?;
    let mut buffer = vec![0_u8; 1 << 16];
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found = std::ptr::null_mut();
    // SAFETY: the name ends with NUL, the buffer has the length that is passed, and all pointers
    // are to live memory of this function's.
    let status = unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            entry.as_mut_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        )
    };
    if status != 0 || found.is_null() {
        return None;
    }
    // SAFETY: with a status of 0 and a result that is not null the entry is filled in, and its
    // folder is a string that ends with NUL inside the buffer.
    let folder = unsafe { std::ffi::CStr::from_ptr((*found).pw_dir) };
    Some(PathBuf::from(OsStr::from_bytes(folder.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_whose_home_is_where() {
        assert_eq!(home_of(Some(OsStr::new("no such user here"))), None);
        assert_eq!(home_of(Some(OsStr::new("nul\0inside"))), None);
        let root = home_of(Some(OsStr::new("root")));
        assert!(root.is_none_or(|home| home.is_absolute()));
    }
}
