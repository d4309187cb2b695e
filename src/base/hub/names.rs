//! Names that a server gives, checked before any of them becomes a part of a path.

use std::path::Path;

/// How long a file's name may be, in bytes: file systems commonly take 255, endings included.
const LONGEST_NAME: usize = 240;

/// How long an ETag may be: it names a file, with an ending such as `.incomplete`.
const LONGEST_ETAG: usize = 200;

/// As much of a server's text as a message shows, on one line.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let shown: String = text.chars().take(MOST).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{rest}")
}

/// A commit of a repository: its hexadecimal digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit(String);

impl Commit {
    /// The commit that a text names: 40 hexadecimal digits, or 64 of a repository with SHA-256.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digest = matches!(text.len(), 40 | 64) && is_hexadecimal(text);
        is_digest.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The digest that an ETag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// A large file's: SHA-256 of its content.
    Sha256,
    /// Another file's: SHA-1 of its content after git's header, `blob LENGTH\0`.
    GitBlob,
}

/// An ETag that can name a file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ETag(String);

impl ETag {
    /// The tag in a header, less its quotation marks and the mark of a weak one.
    pub fn parse(header: &str) -> Option<Self> {
        let tag = header.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = (1..=LONGEST_ETAG).contains(&tag.len())
            && !tag.starts_with('.')
            && tag.bytes().all(is_plain);
        is_name.then(|| Self(tag.to_owned()))
    }

    /// The digest of the content that the tag is, if it looks like one; mirrors may have others.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self.0.len() {
            _ if !is_hexadecimal(&self.0) => None,
            64 => Some(Algorithm::Sha256),
            40 => Some(Algorithm::GitBlob),
            _ => None,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A file of a repository: a path of plain names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileName(String);

impl FileName {
    /// The file of a listing, unless its name could lead out of the cache, or is none that every
    /// file system takes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |part: &str| {
            (1..=LONGEST_NAME).contains(&part.len())
                && part != "."
                && part != ".."
                && !part.contains(|it: char| it.is_control() || it == '\\' || it == ':')
        };
        (text.len() <= 4 * LONGEST_NAME && text.split('/').all(is_plain))
            .then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// Whether a text can be a repository's name, `NAME` or `OWNER/NAME`, by the hub's rules.
pub(crate) fn is_repository(name: &str) -> bool {
    let is_plain = |part: &str| {
        let bytes = part.as_bytes();
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let is_end = |byte: Option<&u8>| byte.is_some_and(|it| !b"-.".contains(it));
        (1..=96).contains(&part.len())
            && bytes.iter().all(is_of_name)
            && is_end(bytes.first())
            && is_end(bytes.last())
    };
    name.split('/').count() <= 2
        && name.split('/').all(is_plain)
        && !name.contains("--")
        && !name.contains("..")
        && !name.ends_with(".git")
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_commit_is_a_digest_and_nothing_else() {
        assert!(Commit::parse(DIGEST).is_some());
        assert!(Commit::parse(&"A0".repeat(32)).is_some());
        let path = format!("../{}", &DIGEST[3..]);
        for text in ["", "main", &DIGEST[1..], "/etc", &path, "0\n"] {
            assert_eq!(Commit::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_etag_loses_its_marks_and_tells_its_algorithm() {
        let parse = |text: &str| ETag::parse(text).unwrap();
        assert_eq!(parse(&format!("\"{DIGEST}\"")).as_str(), DIGEST);
        assert_eq!(
            parse(&format!("W/\"{DIGEST}\"")).algorithm(),
            Some(Algorithm::GitBlob)
        );
        assert_eq!(parse(&"ab".repeat(32)).algorithm(), Some(Algorithm::Sha256));
        assert_eq!(parse("\"5f3c-61a\"").algorithm(), None);
    }

    #[test]
    fn an_etag_that_is_no_plain_name_is_refused() {
        let long = "a".repeat(201);
        for text in [
            "",
            "\"\"",
            "..",
            ".",
            ".hidden",
            "/etc/passwd",
            "../x",
            "a/b",
            "a\\b",
            "a\0b",
            "a b",
            "a\nb",
            "é",
            &long,
        ] {
            assert_eq!(ETag::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_files_name_cannot_lead_elsewhere() {
        for text in ["config.json", "rte/train-00000-of-00001.parquet", "a b/é"] {
            assert!(FileName::parse(text).is_some(), "{text}");
        }
        let long = "a".repeat(241);
        let deep = "a/".repeat(600) + "a";
        for text in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "rte/../../x",
            "rte/./x",
            "rte//x",
            "rte/",
            "a\\..\\b",
            "C:x",
            "a\0b",
            "a\nb",
            "a\u{1b}[2J",
            &long,
            &deep,
        ] {
            assert_eq!(FileName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_repository_is_a_name_or_an_owners() {
        for name in ["gpt2", "crew/tiny-bert", "nyu-mll/glue", "a.b_c/D-1"] {
            assert!(is_repository(name), "{name}");
        }
        for name in [
            "", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a--b", ".a", "a.", "-a", "a b", "é",
            "a.git", "a?x", "a#x", "a%2e",
        ] {
            assert!(!is_repository(name), "{name}");
        }
    }

    #[test]
    fn what_a_server_says_is_shown_on_one_line() {
        assert_eq!(shown("a\u{1b}[2J\n"), r#""a\u{1b}[2J\n""#);
        assert!(shown(&"é".repeat(1000)).len() < 300);
    }
}
