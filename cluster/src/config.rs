//! The cluster file: how to reach a broker, and as whom.
//!
//! `regatta broker` writes two: `cluster.toml` for the coordinator, and `worker.toml` for hosts,
//! which may do less. What each may do is the server's matter, so both have the same keys.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How to reach a broker, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// The broker's addresses, `tls://host:port`, or `nats://host:port` for one without TLS.
    pub urls: Vec<String>,
    /// The name to log in by, with `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password of `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A token, for a broker that has those instead of users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// A folder that all machines share, for blobs; without one they are in the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<PathBuf>,
    /// The certificate in PEM that must have signed the broker's. Without one those count that the
    /// system trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// What others must not see.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is wrong with a cluster file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Other users of the machine can read its secrets.
    #[error(
        "{}: other users can read the secrets in it (mode {mode:03o}); run `chmod 600 {}`, and start \
         `regatta broker` with new secrets if they may have done so",
        path.display(), path.display()
    )]
    Exposed {
        /// Its path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a cluster file.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Its path.
        path: PathBuf,
        /// What is wrong, where, and what would be right.
        reason: String,
    },
}

impl ClusterFile {
    /// Reads a cluster file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, other users can read it, or it has wrong content.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |error| ConfigError::File {
            path: path.into(),
            error,
        };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        check_private(path, &metadata)?;
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|reason| ConfigError::Content {
            path: path.into(),
            reason,
        })
    }

    /// Writes it, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let text = toml::to_string_pretty(self).map_err(|error| ConfigError::Content {
            path: path.into(),
            reason: error.to_string(),
        })?;
        write_private(path, &format!("{HEAD}{text}")).map_err(|error| ConfigError::File {
            path: path.into(),
            error,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        if self.urls.is_empty() {
            return Err(r#"`urls` is empty; name the broker, as in ["tls://host:4222"]"#.into());
        }
        let starts = |url: &&String| url.starts_with("nats://") || url.starts_with("tls://");
        if let Some(url) = self.urls.iter().find(|url| !starts(url)) {
            return Err(format!(
                "{url:?} in `urls` must begin with tls:// or nats://"
            ));
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("`user` and `password` go together: give both or neither".into());
        }
        if self.user.is_some() && self.token.is_some() {
            return Err("`token` and `user` exclude each other: give one of them".into());
        }
        Ok(())
    }

    /// Who logs in with it.
    pub(crate) fn who(&self) -> String {
        match (&self.user, &self.token) {
            (Some(user), _) => format!("user {user}"),
            (None, Some(_)) => "the token".into(),
            (None, None) => "a login without user or token".into(),
        }
    }
}

const HEAD: &str = "\
# How to reach the broker. Written by `regatta broker`. Whoever can read this file can use the
# broker: copy it to the machines that need it, and let nobody else read it.

";

/// Writes a file aside and renames it; only its owner can read it at any time.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// Whether only this machine reaches an address.
pub(crate) fn is_local(address: IpAddr) -> bool {
    address.is_loopback()
}

#[cfg(unix)]
fn check_private(path: &Path, metadata: &std::fs::Metadata) -> Result<(), ConfigError> {
    use std::os::unix::fs::MetadataExt;

    let mode = metadata.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(ConfigError::Exposed {
        path: path.into(),
        mode,
    })
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &std::fs::Metadata) -> Result<(), ConfigError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file() -> ClusterFile {
        ClusterFile {
            urls: vec!["tls://node7:4222".into()],
            user: Some("worker".into()),
            password: Some(Secret::new("open sesame")),
            token: None,
            blobs: Some("/shared/blobs".into()),
            ca: Some("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into()),
        }
    }

    #[test]
    fn a_saved_file_is_its_owners_alone_and_loads_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.toml");
        file().save(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(ClusterFile::load(&path).unwrap(), file());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.toml");
        file().save(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = ClusterFile::load(&path).unwrap_err().to_string();
        assert!(error.contains("mode 640"), "{error}");
        assert!(
            error.contains(&format!("`chmod 600 {}`", path.display())),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = ClusterFile::parse("urls = [\"nats://h:1\"]\npasword = \"x\"\n").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("pasword"), "{error}");
    }

    #[test]
    fn keys_that_do_not_go_together_are_refused() {
        for (text, part) in [
            ("urls = []", "`urls` is empty"),
            ("urls = [\"http://h\"]", "must begin with tls://"),
            ("urls = [\"nats://h\"]\nuser = \"u\"", "go together"),
            (
                "urls = [\"nats://h\"]\nuser = \"u\"\npassword = \"p\"\ntoken = \"t\"",
                "exclude each other",
            ),
        ] {
            let error = ClusterFile::parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?}", file()).contains("sesame"));
    }
}
