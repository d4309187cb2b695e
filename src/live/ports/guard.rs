//! Who may ask: browsers that were led here by another web site may not.
//!
//! A page of another site can have a browser send requests to this machine. It cannot hide where
//! they come from (`Origin`), and it cannot read an answer unless it has this server pass for one
//! of its own by a name that leads here (DNS rebinding), which then stands in `Host`. So a foreign
//! origin is refused, and on a loopback address any host that is neither an address nor localhost.

use std::net::IpAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse};

/// Lets no request through that another site had a browser make. On a `loopback` address only this
/// machine's programs ask, which name it by number or as localhost.
///
/// # Errors
/// The response of the application's service.
pub async fn admit(
    loopback: bool,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match refusal(request.request(), loopback) {
        Some(reason) => {
            let answer = HttpResponse::Forbidden().body(reason);
            Ok(request.into_response(answer).map_into_right_body())
        }
        None => Ok(next.call(request).await?.map_into_left_body()),
    }
}

/// The reason to refuse a request; `None`: it is accepted.
fn refusal(request: &HttpRequest, loopback: bool) -> Option<&'static str> {
    let Some(host) = text(request, header::HOST) else {
        return Some("the request has no Host header");
    };
    if loopback && !is_this_machine(host) {
        return Some("this address serves only this machine: use its IP address or localhost");
    }
    // An opaque origin, `null`, is a foreign one.
    match text(request, header::ORIGIN) {
        Some(origin) if origin.split_once("://").map(|(_, host)| host) != Some(host) => {
            Some("requests from pages of other sites are not allowed")
        }
        _ => None,
    }
}

/// A header's text; `None` also where it is not text.
pub fn text(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// Whether a host is named in a way that no other site's name server can have a say in.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn numbers_and_localhost_are_this_machine_and_other_names_are_not() {
        for host in [
            "127.0.0.1:9466",
            "localhost",
            "LOCALHOST:1",
            "[::1]:9466",
            "[::1]",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "evil.example:9466",
            "localhost.evil.example",
            "",
            ":9466",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
