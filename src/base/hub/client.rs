//! Requests to the hub: what a repository has, and the bytes of its files.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body};
use url::Url;

use crate::base::hub::address::{is_same_server, is_this_machine, redirect};
use crate::base::hub::answer::{FileHeaders, extent};
use crate::base::hub::error::FetchError;
use crate::base::hub::names::{Commit, ETag, FileName, shown};

/// The hub, if no other address is given.
const HUB: &str = "https://huggingface.co";

/// The longest listing of a repository that is read, in bytes.
const LONGEST_LISTING: u64 = 32 << 20;

/// The maximum number of redirects of a request.
const MOST_REDIRECTS: usize = 10;

/// How long a server may keep silent, in connecting, before it answers, and while it sends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Models and data sets, which the hub keeps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Dataset,
}

impl Kind {
    /// The plural, as addresses and the cache's folders spell it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// A repository at one commit.
#[derive(Debug)]
pub(crate) struct Listing {
    pub commit: Commit,
    /// The files as the server names them, unchecked.
    pub files: Vec<String>,
}

/// A file of which the server has begun to send the content.
pub(crate) struct Content {
    pub etag: ETag,
    /// The whole file's length in bytes.
    pub length: u64,
    /// The position of the first byte that comes.
    pub start: u64,
    pub bytes: Box<dyn Read>,
}

/// A hub, and who asks it.
#[derive(Debug)]
pub(crate) struct HubClient {
    agent: Agent,
    endpoint: Url,
    token: Option<String>,
    /// Whether there is a token that plain HTTP would show to everyone on the way.
    is_token_withheld: bool,
}

impl HubClient {
    /// A client of the hub at an address, or of the usual one.
    ///
    /// The token goes to this hub alone, and only by HTTPS or within this machine.
    pub fn new(endpoint: Option<&str>, token: Option<&str>) -> Result<Self, FetchError> {
        let address = endpoint.unwrap_or(HUB);
        let wrong = |why: &str| {
            let address = shown(address);
            FetchError::Final(format!(
                "HF_ENDPOINT is {address}, {why}; expected an address such as {HUB}"
            ))
        };
        let endpoint = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host().is_none() {
            return Err(wrong("which is not the address of a web server"));
        }
        let is_private = endpoint.scheme() == "https" || is_this_machine(&endpoint);
        // Other hosts are this client's business, and statuses are answers.
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("regatta/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .build();
        Ok(Self {
            agent: agent.into(),
            endpoint,
            token: token.filter(|_| is_private).map(str::to_owned),
            is_token_withheld: token.is_some() && !is_private,
        })
    }

    /// The contents of a repository's branch.
    pub fn listing(&self, kind: Kind, name: &str, branch: &str) -> Result<Listing, FetchError> {
        #[derive(Deserialize)]
        struct RepositoryInfo {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let path = ["api", kind.plural()].into_iter().chain(name.split('/'));
        let url = self.url(path.chain(["revision", branch]))?;
        let (_, response) = self.get(url, 0)?;
        let reader = response.into_body().into_reader();
        let mut text = Vec::new();
        reader
            .take(LONGEST_LISTING + 1)
            .read_to_end(&mut text)
            .map_err(|error| FetchError::Passing(error.to_string()))?;
        let nonsense = |why: String| FetchError::Final(format!("the list of its files {why}"));
        if text.len() as u64 > LONGEST_LISTING {
            return Err(nonsense("is too long".to_owned()));
        }
        let answer: RepositoryInfo = serde_json::from_slice(&text)
            .map_err(|error| nonsense(format!("cannot be read: {error}")))?;
        let commit = Commit::parse(&answer.sha)
            .ok_or_else(|| nonsense(format!("has the commit {}", shown(&answer.sha))))?;
        let files = answer.siblings.into_iter().map(|it| it.rfilename);
        Ok(Listing {
            commit,
            files: files.collect(),
        })
    }

    /// Asks for a file from a position on. The server may send it from its beginning all the same.
    pub fn content(
        &self,
        kind: Kind,
        name: &str,
        commit: &Commit,
        file: &FileName,
        from: u64,
    ) -> Result<Content, FetchError> {
        let prefix = match kind {
            Kind::Model => None,
            Kind::Dataset => Some(kind.plural()),
        };
        let path = prefix.into_iter().chain(name.split('/'));
        let path = path.chain(["resolve", commit.as_str()]);
        let url = self.url(path.chain(file.as_str().split('/')))?;
        let (facts, response) = self.get(url, from)?;
        facts.check_commit(commit)?;
        let etag = facts.etag()?;
        let (start, length) = extent(&response, facts.length)?;
        Ok(Content {
            etag,
            length,
            start,
            bytes: Box::new(response.into_body().into_reader()),
        })
    }

    fn url<'a>(&self, path: impl Iterator<Item = &'a str>) -> Result<Url, FetchError> {
        let mut url = self.endpoint.clone();
        let cannot = |()| FetchError::Final(format!("{} takes no path", self.endpoint));
        url.path_segments_mut()
            .map_err(cannot)?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// Asks for a URL and wherever it is sent from there, and notes what the hub says on the way.
    fn get(&self, mut url: Url, from: u64) -> Result<(FileHeaders, Response<Body>), FetchError> {
        let mut facts = FileHeaders::default();
        for _ in 0..=MOST_REDIRECTS {
            let is_hub = is_same_server(&url, &self.endpoint);
            let mut request = self.agent.get(url.as_str());
            if is_this_machine(&url) {
                // A proxy elsewhere has no part in it, nor in the token.
                request = request.config().proxy(None).build();
            }
            // What is compressed on the way has neither the length nor the digest of the file.
            request = request.header("Accept-Encoding", "identity");
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
            }
            if let Some(token) = self.token.as_ref().filter(|_| is_hub) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let host = url.host_str().unwrap_or_default().to_owned();
            let response = request.call().map_err(|error| unreachable(&host, &error))?;
            if is_hub {
                facts.note(response.headers());
            }
            match response.status().as_u16() {
                200 | 206 => return Ok((facts, response)),
                301 | 302 | 303 | 307 | 308 => url = redirect(&url, response.headers())?,
                status => return Err(self.refused(status)),
            }
        }
        Err(FetchError::Final("too many redirects".to_owned()))
    }

    /// What the server's answer means for the user.
    fn refused(&self, status: u16) -> FetchError {
        let what = format!("the server answers {status}");
        match status {
            401 | 403 if self.is_token_withheld => FetchError::Final(format!(
                "{what}; the token is not sent to {}, because plain HTTP exposes it: use https:// \
                 in HF_ENDPOINT",
                self.endpoint
            )),
            401 | 403 => FetchError::Final(format!(
                "{what}; is the name right, and HF_TOKEN set if the repository is private?"
            )),
            404 => FetchError::Final(format!("{what}; is the name right?")),
            408 | 429 | 500..=599 => FetchError::Passing(what),
            416 => FetchError::Misfit(what),
            _ => FetchError::Final(what),
        }
    }
}

fn unreachable(host: &str, error: &ureq::Error) -> FetchError {
    let message = format!("{host}: {error}");
    match error {
        ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl => {
            FetchError::Final(message)
        }
        _ => FetchError::Passing(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> HubClient {
        HubClient::new(Some(endpoint), Some("secret")).unwrap()
    }

    #[test]
    fn a_token_goes_by_https_or_within_this_machine() {
        for (endpoint, is_sent) in [
            ("https://huggingface.co", true),
            ("https://mirror.example:8443/hub", true),
            ("http://127.0.0.1:80", true),
            ("http://[::1]:80", true),
            ("http://localhost", true),
            ("http://mirror.example", false),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.example", false),
            ("http://localhost.example", false),
            ("http://localhost@mirror.example", false),
        ] {
            let client = client(endpoint);
            assert_eq!(client.token.is_some(), is_sent, "{endpoint}");
            assert_eq!(client.is_token_withheld, !is_sent, "{endpoint}");
        }
        let refusal = client("http://mirror.example").refused(401).message();
        assert!(refusal.contains("https://"), "{refusal}");
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_the_variables_name() {
        for address in ["huggingface.co", "ftp://hub.example", "http://", ""] {
            let refusal = HubClient::new(Some(address), None).unwrap_err().message();
            assert!(refusal.contains("HF_ENDPOINT"), "{refusal}");
        }
    }

    #[test]
    fn names_cannot_leave_their_place_in_an_address() {
        let client = client("https://mirror.example/hub/");
        let url = |path: &[&str]| client.url(path.iter().copied()).unwrap().to_string();
        assert_eq!(
            url(&["a", "b?c#d", "é f"]),
            "https://mirror.example/hub/a/b%3Fc%23d/%C3%A9%20f"
        );
    }
}
