//! Ports under those who mean them ill, over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, web};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::live::ports::connection::{Connection, ConnectionId, Held};
use crate::live::ports::listener::Port;

/// No test waits longer for anything.
const LONGEST: Duration = Duration::from_secs(30);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn port(capacity: usize) -> Port {
    Port {
        name: "tested",
        capacity,
        warnings: Vec::new(),
    }
}

/// An HTTP server with N places that answers `/` and reads JSON of up to 100 bytes.
fn serve(capacity: usize) -> SocketAddr {
    http::serve(port(capacity), loopback(), || {
        let read = |_: web::Json<serde_json::Value>| async { "read" };
        App::new()
            .app_data(web::JsonConfig::default().limit(100))
            .route("/", web::get().to(async || "here"))
            .route("/stream", web::get().to(stream))
            .route("/read", web::post().to(read))
    })
    .unwrap()
}

async fn stream(request: actix_web::HttpRequest) -> HttpResponse {
    match http::place(&request).and_then(ConnectionId::hold) {
        Some(held) => HttpResponse::Ok().body(Endless(held)),
        None => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// A stream on which nothing happens.
struct Endless(#[expect(dead_code, reason = "held, not used")] Held);

impl actix_web::body::MessageBody for Endless {
    type Error = std::convert::Infallible;

    fn size(&self) -> actix_web::body::BodySize {
        actix_web::body::BodySize::Stream
    }

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<web::Bytes, Self::Error>>> {
        std::task::Poll::Pending
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    stream
}

/// What comes back for these bytes, until the connection is closed one way or the other.
fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // Whoever is refused may find the connection closed before all is written.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("left open: {all:?}"),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn get(address: SocketAddr, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    say(address, head.as_bytes())
}

/// Whether the other end has closed the connection, whatever it said before.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Waits until something is so.
fn wait_until(what: &str, so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < LONGEST, "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn idle_connections_make_room_for_whoever_asks_and_are_never_more_than_the_port_bears() {
    let address = serve(16);
    let idle: Vec<_> = (0..300).map(|_| connect(address)).collect();
    assert!(get(address, "/").ends_with("here"));
    wait_until("closed", || {
        idle.iter().filter(|stream| !is_closed(stream)).count() <= 16
    });
}

#[test]
fn what_makes_no_whole_request_within_seconds_is_closed() {
    let address = serve(16);
    let head = "POST /read HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n";
    let slow: Vec<_> = [
        String::new(),
        "G".into(),
        "GET / HTTP/1.1\r\nHost: here\r\nX: ".into(),
        format!("{head}Content-Length: 50\r\n\r\n{{\"a\":"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"a"),
    ]
    .iter()
    .map(|part| {
        let mut stream = connect(address);
        stream.write_all(part.as_bytes()).unwrap();
        stream
    })
    .collect();
    let begin = Instant::now();
    // A byte now and then prolongs nothing.
    wait_until("closed", || {
        for mut stream in &slow[..3] {
            let _ = stream.write(b"a");
        }
        slow.iter().all(is_closed)
    });
    assert!(begin.elapsed() >= slots::FIRST_REQUEST / 2);
}

#[test]
fn requests_beyond_all_measure_are_refused_and_the_next_is_answered() {
    let address = serve(16);
    let post = |length: &str, body: &str| {
        let head = "POST /read HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n";
        say(
            address,
            format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes(),
        )
    };
    for length in ["101", "1000000000000", "18446744073709551615"] {
        let answer = post(length, "{");
        assert!(answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
    }
    for length in [
        "-1",
        "18446744073709551616",
        "two",
        "1\r\nContent-Length: 2",
    ] {
        let answer = post(length, "{}");
        assert!(answer.starts_with("HTTP/1.1 400"), "{length}: {answer}");
    }
    let long = "x".repeat(1 << 20);
    say(
        address,
        format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n").as_bytes(),
    );
    say(address, format!("GET /{long} HTTP/1.1\r\n\r\n").as_bytes());
    let many = "X: y\r\n".repeat(10_000);
    say(address, format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes());
    say(address, long.as_bytes());
    say(address, &[0; 300_000]);
    assert!(get(address, "/").ends_with("here"));
}

#[test]
fn a_thousand_requests_in_one_breath_are_answered_one_by_one() {
    let address = serve(16);
    let one = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let last = format!("GET /no HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut stream = connect(address);
    let mut half = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        half.write_all((one.repeat(1000) + &last).as_bytes())
            .unwrap();
    });
    let answers = rest(&mut stream);
    writer.join().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1000);
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 1);
}

#[test]
fn streams_have_half_of_the_port_and_leave_it_when_they_end() {
    let address = serve(16);
    let head = format!("GET /stream HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let follow = || {
        let mut stream = connect(address);
        stream.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, String::from_utf8_lossy(&status).into_owned())
    };
    let followers: Vec<_> = (0..12).map(|_| follow()).collect();
    let taken = followers.iter().filter(|(_, s)| s == "HTTP/1.1 200");
    let refused = followers.iter().filter(|(_, s)| s == "HTTP/1.1 503");
    assert_eq!((taken.count(), refused.count()), (8, 4));
    // Streams are not what makes room for others.
    let _idle: Vec<_> = (0..100).map(|_| connect(address)).collect();
    assert!(get(address, "/").ends_with("here"));
    assert!(followers[..8].iter().all(|(stream, _)| !is_closed(stream)));
    drop(followers);
    wait_until("room", || follow().1 == "HTTP/1.1 200");
}

#[test]
fn a_reader_that_reads_nothing_is_cut_off_and_its_handle_given_back() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let open = connection::Open::new(slots::Slots::new(2).into());
        let (stream, _) = listener.accept().await.unwrap();
        let (mut connection, crowded) = Connection::admit(stream, &open);
        assert!(!crowded);
        let _held = connection.place().hold().unwrap();
        let chunk = vec![0; 1 << 20];
        let full = async {
            loop {
                connection.write_all(&chunk).await.unwrap();
            }
        };
        let blocked = tokio::time::timeout(Duration::from_millis(300), full).await;
        assert!(blocked.is_err(), "the peer's buffers have an end");
        let later = Instant::now() + slots::UNREAD;
        for line in open.borrow_mut().expire(later) {
            line.cut();
        }
        let error = connection.write_all(&chunk).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        drop(peer);
    });
}

#[test]
fn whoever_waits_for_a_connection_that_is_cut_is_woken() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let open = connection::Open::new(slots::Slots::new(2).into());
        let (stream, _) = listener.accept().await.unwrap();
        let (mut connection, _) = Connection::admit(stream, &open);
        let reading = tokio::task::spawn_local(async move { connection.read_u8().await });
        tokio::task::yield_now().await;
        for line in open
            .borrow_mut()
            .expire(Instant::now() + slots::FIRST_REQUEST)
        {
            line.cut();
        }
        let waited = tokio::time::timeout(LONGEST, reading).await;
        let error = waited.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        // The socket is closed, not only no longer read.
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let address = serve(2);
    let again = http::serve(port(2), address, App::new);
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
}
