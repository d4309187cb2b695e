//! Addresses: which of them are the hub's, and where a request may be sent on to.

use std::net::IpAddr;

use ureq::http::HeaderMap;
use url::{Host, Url};

use crate::base::hub::error::FetchError;
use crate::base::hub::names::shown;

/// The URL that an answer sends to. From HTTPS there is no way back to plain HTTP.
pub(crate) fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    let refuse = |why: String| FetchError::Final(format!("it is redirected {why}"));
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
        return Err(refuse(format!(
            "from {from} to {to}, which is not followed"
        )));
    }
    Ok(to)
}

/// Whether two URLs are of one server: scheme, host and port.
pub(crate) fn is_same_server(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Whether a URL's host is this machine, by its name or its address.
pub(crate) fn is_this_machine(url: &Url) -> bool {
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
}
