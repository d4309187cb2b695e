//! How the environment says to reach the hub, read as the hub's own library reads it.
//!
//! So that a cache is shared with that library, folders are what `huggingface_hub.constants` makes
//! of the same variables: a set but empty one counts, `~`, `~user`, `$NAME` and `${NAME}` are
//! expanded once per constant, and an unknown name stays as it is written.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::base::hub::Hub;
use crate::base::hub::expansion::{Environment, home_of};
use crate::base::hub_error::HubError;

impl Hub {
    /// Settings as the hub's own library takes them: the cache from `HF_HUB_CACHE`,
    /// `HUGGINGFACE_HUB_CACHE`, `HF_HOME` or `XDG_CACHE_HOME`, the first of them that is set;
    /// `HF_ENDPOINT`; `HF_TOKEN`, or the file that `HF_TOKEN_PATH` names or `HF_HOME` holds;
    /// `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// If no variable names a cache and there is no home folder.
    pub fn from_env() -> Result<Self, HubError> {
        Environment {
            variable: &|name| std::env::var_os(name),
            home: &home_of,
        }
        .hub()
    }
}

impl Environment<'_> {
    fn hub(&self) -> Result<Hub, HubError> {
        let home = self.hub_home()?;
        let cache = self
            .get("HF_HUB_CACHE")
            .or_else(|| self.get("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| home.join("hub").into_os_string());
        Ok(Hub {
            cache: self.expand(&cache),
            endpoint: self
                .text("HF_ENDPOINT")
                .map(|url| url.trim_end_matches('/').to_owned()),
            token: self.token(&home),
            offline: self
                .text("HF_HUB_OFFLINE")
                .or_else(|| self.text("TRANSFORMERS_OFFLINE"))
                .is_some_and(|value| is_true(&value)),
        })
    }

    /// The library's own folder.
    fn hub_home(&self) -> Result<PathBuf, HubError> {
        if let Some(home) = self.get("HF_HOME") {
            return Ok(self.expand(&home));
        }
        let user = || {
            let home = self.user_home(None)?;
            Some(Path::new(&home).join(".cache").into_os_string())
        };
        let caches = self.get("XDG_CACHE_HOME").or_else(user);
        let caches = caches.ok_or_else(|| HubError::Fetch {
            repo: "anything".to_owned(),
            message: "no home folder for the cache; set HF_HOME".to_owned(),
        })?;
        Ok(self.expand(Path::new(&caches).join("huggingface").as_os_str()))
    }

    fn token(&self, home: &Path) -> Option<String> {
        let without_token = self.text("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        if without_token.is_some_and(|value| is_true(&value)) {
            return None;
        }
        let clean = |token: String| {
            let token = token.replace(['\r', '\n'], "").trim().to_owned();
            (!token.is_empty()).then_some(token)
        };
        let given = || {
            self.text("HF_TOKEN")
                .or_else(|| self.text("HUGGING_FACE_HUB_TOKEN"))
        };
        let stored = || {
            let path = self.get("HF_TOKEN_PATH");
            let path = path.unwrap_or_else(|| home.join("token").into_os_string());
            std::fs::read_to_string(self.expand(&path)).ok()
        };
        given().and_then(clean).or_else(|| stored().and_then(clean))
    }

    fn get(&self, name: &str) -> Option<OsString> {
        (self.variable)(OsStr::new(name))
    }

    /// A variable that is not a path; an empty one counts as unset.
    fn text(&self, name: &str) -> Option<String> {
        let value = self.get(name)?.into_string().ok()?;
        (!value.is_empty()).then_some(value)
    }
}

/// As the hub's own library reads a switch.
fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let variable = |name: &OsStr| {
            let found = variables.iter().find(|(it, _)| name == *it);
            let home = (name == "HOME").then(|| "/home/me".into());
            found.map(|(_, value)| value.into()).or(home)
        };
        let home = |user: Option<&OsStr>| (user? == "root").then(|| "/root".into());
        Environment {
            variable: &variable,
            home: &home,
        }
        .hub()
        .unwrap()
    }

    /// Each cache is what `huggingface_hub.constants.HF_HUB_CACHE` of version 2.4.0 is with the
    /// same variables and `HOME=/home/me`.
    #[test]
    fn the_cache_is_where_the_hubs_own_library_has_it() {
        for (variables, cache) in [
            (&[][..], "/home/me/.cache/huggingface/hub"),
            // Which variable wins.
            (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/c")], "/h/hub"),
            (&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/x")], "/x"),
            (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/y")], "/y"),
            (
                &[("HF_HUB_CACHE", "~/x"), ("HUGGINGFACE_HUB_CACHE", "/y")],
                "/home/me/x",
            ),
            // Home folders.
            (&[("XDG_CACHE_HOME", "~/c")], "/home/me/c/huggingface/hub"),
            (&[("HF_HOME", "~")], "/home/me/hub"),
            (&[("HF_HOME", "~/")], "/home/me/hub"),
            (&[("HF_HOME", "~/h")], "/home/me/h/hub"),
            (&[("HF_HOME", "/h/~")], "/h/~/hub"),
            (&[("HF_HOME", "~root/h")], "/root/h/hub"),
            (&[("HF_HOME", "~nobodyknows/h")], "~nobodyknows/h/hub"),
            (&[("HUGGINGFACE_HUB_CACHE", "~/y")], "/home/me/y"),
            (&[("HOME", "/"), ("HF_HOME", "~/h")], "/h/hub"),
            (&[("HOME", "/me/"), ("HF_HOME", "~/h")], "/me/h/hub"),
            (&[("HOME", ""), ("HF_HOME", "~")], "/hub"),
            (&[("HOME", "")], "/.cache/huggingface/hub"),
            // Variables in variables.
            (
                &[("XDG_CACHE_HOME", "$HOME/c")],
                "/home/me/c/huggingface/hub",
            ),
            (&[("HF_HOME", "$A/h"), ("A", "/a")], "/a/h/hub"),
            (&[("HF_HOME", "${A}x$A"), ("A", "/a")], "/ax/a/hub"),
            (&[("HF_HOME", "$A_B/h"), ("A", "/a")], "$A_B/h/hub"),
            (&[("HF_HOME", "/x/${NONE}/h")], "/x/${NONE}/h/hub"),
            (&[("HF_HOME", "/x/${A"), ("A", "/a")], "/x/${A/hub"),
            (&[("HF_HOME", "/x/$")], "/x/$/hub"),
            (&[("HF_HOME", "/x/$$A"), ("A", "a")], "/x/$a/hub"),
            (&[("HF_HOME", "/x/${}")], "/x/${}/hub"),
            (&[("HF_HOME", "$A/h"), ("A", "")], "/h/hub"),
            (&[("HF_HOME", "/x/$é"), ("é", "v")], "/x/$é/hub"),
            (&[("HF_HOME", "/x/${é}"), ("é", "v")], "/x/v/hub"),
            (&[("HF_HOME", "/x/$A-é"), ("A", "a")], "/x/a-é/hub"),
            (&[("HUGGINGFACE_HUB_CACHE", "$A/y"), ("A", "/a")], "/a/y"),
            // A value is not looked into again, but `HF_HOME` is part of another constant.
            (&[("HF_HUB_CACHE", "/$A"), ("A", "$B"), ("B", "b")], "/$B"),
            (&[("HF_HOME", "/$A"), ("A", "$B"), ("B", "b")], "/b/hub"),
            (&[("HF_HOME", "$A"), ("A", "~/x")], "/home/me/x/hub"),
            (&[("HF_HOME", "~$A"), ("A", "/x")], "/home/me/x/hub"),
            // Empty, relative, with a slash too many.
            (&[("HF_HOME", "")], "hub"),
            (&[("XDG_CACHE_HOME", "")], "huggingface/hub"),
            (&[("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", "/y")], ""),
            (&[("HF_HOME", "h")], "h/hub"),
            (&[("HF_HOME", "/h/")], "/h/hub"),
        ] {
            let found = hub(variables).cache;
            assert_eq!(found.to_str(), Some(cache), "{variables:?}");
        }
    }

    #[test]
    fn a_cache_whose_name_is_not_utf8_is_taken_as_it_is() {
        let name = OsString::from_vec(b"/caf\xe9".to_vec());
        let variable = |it: &OsStr| (it == "HF_HOME").then(|| name.clone());
        let hub = Environment {
            variable: &variable,
            home: &|_| None,
        };
        let cache = hub.hub().unwrap().cache;
        assert_eq!(cache.as_os_str().as_bytes(), b"/caf\xe9/hub");
    }

    #[test]
    fn address_token_and_offline_mode_come_from_the_environment() {
        let plain = hub(&[("HF_ENDPOINT", ""), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!(
            (plain.endpoint, plain.token, plain.offline),
            (None, None, false)
        );
        let set = hub(&[
            ("HF_ENDPOINT", "http://a//"),
            ("HF_TOKEN", " t\r\n"),
            ("HF_HUB_OFFLINE", "1"),
        ]);
        assert_eq!(set.endpoint.as_deref(), Some("http://a"));
        assert_eq!((set.token.as_deref(), set.offline), (Some("t"), true));
        assert!(hub(&[("TRANSFORMERS_OFFLINE", "yes")]).offline);
        assert!(!hub(&[("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn the_token_may_lie_in_a_file_beside_the_cache_or_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "stored\n").unwrap();
        let home = home.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| hub(variables).token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("stored"));
        for (name, value) in [("HF_TOKEN", "t"), ("HUGGING_FACE_HUB_TOKEN", "t")] {
            let variables = [("HF_HOME", home), (name, value)];
            assert_eq!(token(&variables).as_deref(), Some("t"));
        }
        let blank = [("HF_HOME", home), ("HF_TOKEN", " \n")];
        assert_eq!(token(&blank).as_deref(), Some("stored"));
        let path = [("HF_TOKEN_PATH", "$X/token"), ("X", home)];
        assert_eq!(token(&path).as_deref(), Some("stored"));
        let without = [("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(token(&without), None);
    }

    #[test]
    fn without_any_folder_for_the_cache_there_is_an_error() {
        let nothing = Environment {
            variable: &|_| None,
            home: &|_| None,
        };
        assert!(nothing.hub().is_err());
    }
}
