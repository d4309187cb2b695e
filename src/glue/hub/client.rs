//! Requests to the hub: what a repository has, and the bytes of its files.

use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};
use url::{Host, Url};

use super::names::{Commit, ETag, FileName, shown};

/// The hub, if no other address is given.
const HUB: &str = "https://huggingface.co";

/// The longest listing of a repository that is read, in bytes.
const LONGEST_LISTING: u64 = 32 << 20;

/// How often a request may be sent elsewhere.
const MOST_REDIRECTS: usize = 10;

/// How long a server may keep silent, in connecting, before it answers, and while it sends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why something could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another try may do.
    Passing(String),
    /// Another try may do, but from the beginning.
    Misfit(String),
    /// None will.
    Final(String),
}

impl Failure {
    /// What went wrong, for the user.
    pub fn message(self) -> String {
        match self {
            Self::Passing(message) | Self::Misfit(message) | Self::Final(message) => message,
        }
    }
}

/// Models and data sets, which the hub keeps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
pub(super) struct Listing {
    pub commit: Commit,
    /// The files as the server names them, unchecked.
    pub files: Vec<String>,
}

/// A file of which the server has begun to send the content.
pub(super) struct Content {
    pub etag: ETag,
    /// The whole file's length in bytes.
    pub length: u64,
    /// The position of the first byte that comes.
    pub start: u64,
    pub bytes: Box<dyn Read>,
}

/// A hub, and who asks it.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: Url,
    token: Option<String>,
    /// Whether there is a token that plain HTTP would show to everyone on the way.
    is_token_withheld: bool,
}

impl Client {
    /// A client of the hub at an address, or of the usual one.
    ///
    /// The token goes to this hub alone, and only by HTTPS or within this machine.
    pub fn new(endpoint: Option<&str>, token: Option<&str>) -> Result<Self, Failure> {
        let address = endpoint.unwrap_or(HUB);
        let wrong = |why: &str| {
            let address = shown(address);
            Failure::Final(format!(
                "HF_ENDPOINT is {address}, {why}; expected an address such as {HUB}"
            ))
        };
        let endpoint = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host().is_none() {
            return Err(wrong("which is no address of a web server"));
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

    /// What a repository's branch has.
    pub fn listing(&self, kind: Kind, name: &str, branch: &str) -> Result<Listing, Failure> {
        #[derive(Deserialize)]
        struct Answer {
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
            .map_err(|error| Failure::Passing(error.to_string()))?;
        let nonsense = |why: String| Failure::Final(format!("the list of its files {why}"));
        if text.len() as u64 > LONGEST_LISTING {
            return Err(nonsense("is too long".to_owned()));
        }
        let answer: Answer = serde_json::from_slice(&text)
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
    ) -> Result<Content, Failure> {
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

    fn url<'a>(&self, path: impl Iterator<Item = &'a str>) -> Result<Url, Failure> {
        let mut url = self.endpoint.clone();
        let cannot = |()| Failure::Final(format!("{} takes no path", self.endpoint));
        url.path_segments_mut()
            .map_err(cannot)?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// Asks for a URL and wherever it is sent from there, and notes what the hub says on the way.
    fn get(&self, mut url: Url, from: u64) -> Result<(Facts, Response<Body>), Failure> {
        let mut facts = Facts::default();
        for _ in 0..=MOST_REDIRECTS {
            let is_hub = is_same_server(&url, &self.endpoint);
            let mut request = self.agent.get(url.as_str());
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
        Err(Failure::Final("it is redirected without end".to_owned()))
    }

    /// What the server's answer means for the user.
    fn refused(&self, status: u16) -> Failure {
        let what = format!("the server answers {status}");
        match status {
            401 | 403 if self.is_token_withheld => Failure::Final(format!(
                "{what}; the token is not sent to {}, because plain HTTP shows it to everyone on \
                 the way: give HF_ENDPOINT with https://",
                self.endpoint
            )),
            401 | 403 => Failure::Final(format!(
                "{what}; is the name right, and HF_TOKEN set if the repository is private?"
            )),
            404 => Failure::Final(format!("{what}; is the name right?")),
            408 | 429 | 500..=599 => Failure::Passing(what),
            416 => Failure::Misfit(what),
            _ => Failure::Final(what),
        }
    }
}

/// What the hub says of a file, in the headers of its own answers.
#[derive(Debug, Default)]
struct Facts {
    linked_etag: Option<String>,
    own_etag: Option<String>,
    commit: Option<String>,
    length: Option<u64>,
}

impl Facts {
    fn note(&mut self, headers: &HeaderMap) {
        let get = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let later = |old: &mut Option<String>, new: Option<String>| {
            if new.is_some() {
                *old = new;
            }
        };
        later(&mut self.linked_etag, get("x-linked-etag"));
        later(&mut self.own_etag, get("etag"));
        later(&mut self.commit, get("x-repo-commit"));
        let length = get("x-linked-size").and_then(|text| text.parse().ok());
        self.length = length.or(self.length);
    }

    fn etag(&self) -> Result<ETag, Failure> {
        // A large file's own tag is that of the answer which says where it lies.
        let tag = self.linked_etag.as_ref().or(self.own_etag.as_ref());
        let tag = tag.ok_or_else(|| Failure::Final("it comes without an ETag".to_owned()))?;
        ETag::parse(tag)
            .ok_or_else(|| Failure::Final(format!("its ETag, {}, names no file", shown(tag))))
    }

    fn check_commit(&self, wanted: &Commit) -> Result<(), Failure> {
        match &self.commit {
            Some(found) if found != wanted.as_str() => Err(Failure::Final(format!(
                "it comes from the commit {}, not from {}",
                shown(found),
                wanted.as_str()
            ))),
            _ => Ok(()),
        }
    }
}

/// Where an answer's bytes begin, and how long the whole file is.
fn extent(response: &Response<Body>, linked: Option<u64>) -> Result<(u64, u64), Failure> {
    let headers = response.headers();
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    if let Some(encoding) = text("content-encoding").filter(|it| *it != "identity") {
        let encoding = shown(encoding);
        return Err(Failure::Final(format!("it comes compressed ({encoding})")));
    }
    let (start, length) = if response.status().as_u16() == 206 {
        text("content-range")
            .and_then(content_range)
            .ok_or_else(|| Failure::Final("it comes in parts without their range".to_owned()))?
    } else {
        let length = text("content-length").and_then(|it| it.parse().ok());
        (0, length.or(linked))
    };
    match (length, linked) {
        (Some(length), Some(linked)) if length != linked => Err(Failure::Misfit(format!(
            "it should have {linked} bytes, but {length} are sent"
        ))),
        (Some(length), _) | (None, Some(length)) => Ok((start, length)),
        (None, None) => Err(Failure::Final("it comes without its length".to_owned())),
    }
}

/// Reads `bytes FIRST-LAST/LENGTH`; the length may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let length = match length {
        "*" => None,
        length => Some(length.parse().ok()?),
    };
    Some((first.parse().ok()?, length))
}

/// The URL that an answer sends to. From HTTPS there is no way back to plain HTTP.
fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    let refuse = |why: String| Failure::Final(format!("it is redirected {why}"));
    let location = headers.get("location").map(|it| it.as_bytes());
    let location = location.ok_or_else(|| refuse("to nowhere".to_owned()))?;
    let location = String::from_utf8_lossy(location);
    let to = from
        .join(&location)
        .map_err(|error| refuse(format!("to {}: {error}", shown(&location))))?;
    let is_allowed = match to.scheme() {
        "https" => true,
        "http" => from.scheme() == "http",
        _ => false,
    };
    if !is_allowed || to.host().is_none() || !to.username().is_empty() || to.password().is_some() {
        let (from, to) = (from.scheme(), shown(&location));
        return Err(refuse(format!("from {from} to {to}, which is not followed")));
    }
    Ok(to)
}

fn unreachable(host: &str, error: &ureq::Error) -> Failure {
    let message = format!("{host}: {error}");
    match error {
        ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl => {
            Failure::Final(message)
        }
        _ => Failure::Passing(message),
    }
}

fn is_same_server(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> Client {
        Client::new(Some(endpoint), Some("secret")).unwrap()
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
    fn only_the_hub_itself_is_the_hub() {
        let hub = Url::parse("https://hub.example").unwrap();
        for (url, is_hub) in [
            ("https://hub.example/a", true),
            ("https://HUB.example:443/a", true),
            ("http://hub.example/a", false),
            ("https://hub.example:8443/a", false),
            ("https://cdn.hub.example/a", false),
            ("https://hub.example.evil/a", false),
            ("https://hub.example@evil/a", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(is_same_server(&url, &hub), is_hub, "{url}");
        }
    }

    #[test]
    fn a_redirect_stays_on_the_web_and_does_not_fall_back_to_plain_http() {
        let to = |from: &str, location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("location", location.parse().unwrap());
            redirect(&Url::parse(from).unwrap(), &headers).map(String::from)
        };
        let hub = "https://hub.example/a/b";
        for (location, url) in [
            ("https://cdn.example/x?y=z", "https://cdn.example/x?y=z"),
            ("/x", "https://hub.example/x"),
            ("x", "https://hub.example/a/x"),
            ("//cdn.example/x", "https://cdn.example/x"),
        ] {
            assert_eq!(to(hub, location).as_deref(), Ok(url));
        }
        for location in [
            "http://hub.example/x",
            "http://127.0.0.1/x",
            "file:///etc/passwd",
            "ftp://hub.example/x",
            "https://user:word@cdn.example/x",
            "https://",
        ] {
            assert!(to(hub, location).is_err(), "{location}");
        }
        assert!(to("http://127.0.0.1/a", "http://127.0.0.1:1/x").is_ok());
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_the_variables_name() {
        for address in ["huggingface.co", "ftp://hub.example", "http://", ""] {
            let refusal = Client::new(Some(address), None).unwrap_err().message();
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

    #[test]
    fn a_content_range_tells_where_its_bytes_begin() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes */10", "bytes -5/10", "bytes 5-9/x", "5-9/10"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
