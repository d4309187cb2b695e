//! What a scrape returns, and which requests the endpoint refuses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::live::metrics::exporter;
use crate::live::metrics::exporter::Exporter;

/// Serves one counter of the run `demo`.
#[expect(
    clippy::disallowed_macros,
    reason = "a metric of the test's own, which no catalogue holds"
)]
fn serve(address: &str) -> SocketAddr {
    let recorder = exporter::builder("demo").unwrap().build_recorder();
    metrics::with_local_recorder(&recorder, || metrics::counter!("sailed").increment(3));
    exporter::serve(address.parse().unwrap(), recorder.handle()).unwrap()
}

/// The answer to a request with these headers.
fn ask(address: SocketAddr, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("{line}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, path: &str, host: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1"),
        &format!("Host: {host}\r\n"),
    )
}

#[test]
fn a_scrape_gets_the_text_format_by_any_path() {
    let address = serve("127.0.0.1:0");
    for path in ["/metrics", "/", "/anything?x=1"] {
        let answer = get(address, path, &address.to_string());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
        assert!(head.to_lowercase().contains(kind), "{head}");
        assert!(body.contains("sailed_total{run=\"demo\"} 3\n"), "{body}");
    }
    let health = get(address, "/health", &address.to_string());
    assert!(health.ends_with("\r\n\r\nOK"), "{health}");
}

#[test]
fn other_sites_read_no_metrics_and_this_machine_s_programs_do() {
    let address = serve("127.0.0.1:0");
    let port = address.port();
    for (headers, status) in [
        (format!("Host: {address}\r\n"), "200"),
        (format!("Host: localhost:{port}\r\n"), "200"),
        (format!("Host: evil.example:{port}\r\n"), "403"),
        (
            format!("Host: {address}\r\nOrigin: http://evil.example\r\n"),
            "403",
        ),
        (format!("Host: {address}\r\nOrigin: null\r\n"), "403"),
    ] {
        let answer = ask(address, "GET /metrics HTTP/1.1", &headers);
        assert_eq!(answer.split(' ').nth(1), Some(status), "{headers}");
        assert_eq!(answer.contains("sailed"), status == "200");
    }
}

#[test]
fn beyond_loopback_a_scrape_may_name_the_machine_as_it_likes() {
    let address = serve("0.0.0.0:0");
    let here = SocketAddr::new([127, 0, 0, 1].into(), address.port());
    assert!(get(here, "/metrics", "trainer-7.cluster:9464").contains("sailed"));
    let foreign = "Host: trainer-7\r\nOrigin: http://evil.example\r\n";
    assert!(ask(here, "GET /metrics HTTP/1.1", foreign).starts_with("HTTP/1.1 403"));
}

#[test]
fn connections_that_say_nothing_keep_no_scrape_away() {
    let address = serve("127.0.0.1:0");
    let idle: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    assert!(get(address, "/metrics", "localhost").contains("sailed"));
    drop(idle);
}

#[test]
fn an_address_that_is_taken_is_an_error_and_leaves_no_recorder_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for _ in 0..2 {
        let error = Exporter::start(address, "demo").unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
    }
}
