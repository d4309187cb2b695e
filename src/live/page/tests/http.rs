//! What the server answers, and which requests it refuses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use regatta_actors::observe::control::{Control, control};

use super::*;

use crate::live::control::Token;
use crate::live::control::server::CommandHandler;
use crate::live::page::assets::ASSETS;
use crate::live::page::feed::Feed;
use crate::live::page::history::{PageHeader, Steering};
use crate::live::page::server::WebServer;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn serve(handler: Option<CommandHandler>) -> WebServer {
    WebServer::start(loopback(), Feed::new(PageHeader::default()), handler).unwrap()
}

/// A command handler for a run of one client, and the run's end of the connection.
fn handler(token: Option<&str>) -> (CommandHandler, Control) {
    let (handle, run) = control();
    handle.board().update(ClientId(0), |_| {});
    (CommandHandler::new(token.map(Token::new), handle), run)
}

/// Sends a request as it stands, up to the body, and returns the answer as text.
fn ask(server: &WebServer, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let length = body.len();
    let head = head.replace('\n', "\r\n");
    let request = format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn get(server: &WebServer, path: &str) -> String {
    let host = server.address();
    ask(server, &format!("GET {path} HTTP/1.1\nHost: {host}"), "")
}

fn post(server: &WebServer, headers: &str, command: &str) -> String {
    let host = server.address();
    let head = format!("POST /api/control HTTP/1.1\nHost: {host}\n{headers}");
    ask(server, &head, command)
}

pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

const JSON: &str = "Content-Type: application/json";
const PAUSE: &str = r#"{"command":"pause"}"#;

#[test]
fn every_file_is_served_with_its_type_under_a_strict_policy() {
    let server = serve(None);
    for asset in ASSETS {
        let answer = get(&server, asset.path);
        assert_eq!(status(&answer), "200", "{}", asset.path);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(
            head.contains(&format!("content-type: {}", asset.kind)),
            "{head}"
        );
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"));
        assert!(
            !head.contains("unsafe-inline") && head.contains("nosniff"),
            "{head}"
        );
        assert_eq!(body, asset.content);
    }
    assert_eq!(status(&get(&server, "/nothing")), "404");
}

#[test]
fn the_history_is_json() {
    let answer = get(&serve(None), "/api/history");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let history: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(history["facts"]["steering"], "off");
}

#[test]
fn the_stream_replays_then_follows_then_ends_with_the_server() {
    let feed = Feed::new(PageHeader::default());
    let server = WebServer::start(loopback(), feed.clone(), None).unwrap();
    let mut followed = Followed::new(&feed, 1);
    followed.start(2);
    followed.round(1);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let host = server.address();
    let request = format!("GET /api/events HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut heard = String::new();
    let mut listen_for = |text: &str| {
        let mut buffer = [0; 4096];
        while !heard.contains(text) {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the stream ended before {text}");
            heard += &String::from_utf8_lossy(&buffer[..length]);
        }
    };
    listen_for("event: history");
    listen_for(r#""round":1,"train_loss":1.0"#);
    followed.round(2);
    listen_for("event: changes");
    listen_for(r#""round":2,"train_loss":0.5"#);
    followed.finish(2);
    drop(server);
    listen_for(r#""ending":"complete""#);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn a_page_of_another_site_is_refused_by_host_and_by_origin() {
    let server = serve(None);
    let host = server.address();
    let port = host.port();
    let refused = |headers: String| {
        let answer = ask(
            &server,
            &format!("GET /api/history HTTP/1.1\n{headers}"),
            "",
        );
        status(&answer) == "403"
    };
    assert!(refused("Host: evil.example".into()));
    assert!(refused(format!("Host: evil.example:{port}")));
    assert!(refused(format!(
        "Host: {host}\nOrigin: http://evil.example"
    )));
    assert!(refused(format!("Host: {host}\nOrigin: null")));
    assert!(refused(format!("Host: {host}\nOrigin: http://127.0.0.1:1")));
    assert!(!refused(format!("Host: localhost:{port}")));
    assert!(!refused(format!("Host: {host}\nOrigin: http://{host}")));
}

#[test]
fn without_a_desk_nothing_can_be_changed() {
    let answer = post(&serve(None), JSON, PAUSE);
    assert!(
        status(&answer) == "403" && answer.contains("--control"),
        "{answer}"
    );
}

#[test]
fn commands_are_json_from_this_page_and_reach_the_run() {
    let (handler, run) = handler(None);
    let server = serve(Some(handler));
    let host = server.address();
    let foreign = format!("{JSON}\nOrigin: http://evil.example");
    assert_eq!(status(&post(&server, &foreign, PAUSE)), "403");
    for form in [
        "Content-Type: text/plain",
        "Content-Type: application/x-www-form-urlencoded",
    ] {
        assert!(status(&post(&server, form, PAUSE)).starts_with('4'));
    }
    assert!(status(&post(&server, JSON, "{}")).starts_with('4'));
    let unknown = post(&server, JSON, r#"{"command":"drop","client":7}"#);
    assert!(
        status(&unknown) == "409" && unknown.contains("no client 7"),
        "{unknown}"
    );

    let own = format!("{JSON}\nOrigin: http://{host}");
    let command = r#"{"command":"slow","client":0,"factor":2.5}"#;
    // It has reached the run, which is not carried out here.
    let sent = post(&server, &own, command);
    assert!(sent.contains("the run has not answered"), "{sent}");
    drop(run);
    let over = post(&server, &own, PAUSE);
    assert!(status(&over) == "409" && over.contains("over"), "{over}");
}

#[test]
fn where_there_is_a_token_it_is_wanted() {
    let (handler, _run) = handler(Some("secret"));
    let server = serve(Some(handler));
    assert_eq!(status(&post(&server, JSON, PAUSE)), "401");
    let wrong = format!("{JSON}\nX-Regatta-Token: secreT");
    assert_eq!(status(&post(&server, &wrong, PAUSE)), "401");
    let right = format!("{JSON}\nX-Regatta-Token: secret");
    let sent = post(&server, &right, PAUSE);
    assert!(sent.contains("the run has not answered"), "{sent}");
}

#[test]
fn what_means_nothing_or_is_out_of_bounds_is_refused_as_on_the_control_line() {
    let (handler, _run) = handler(None);
    let server = serve(Some(handler));
    for (command, status_is, why) in [
        (
            r#"{"command":"pause","client":0}"#,
            "400",
            "does not concern a client",
        ),
        (r#"{"command":"stop","now":true}"#, "400", "unknown field"),
        (
            r#"{"command":"slow","client":0,"factor":1e999}"#,
            "400",
            "range",
        ),
        (
            r#"{"command":"slow","client":0,"factor":1e7}"#,
            "409",
            "0.001 to 1000000",
        ),
        (
            r#"{"command":"slow","client":0,"factor":0}"#,
            "409",
            "0.001 to 1000000",
        ),
    ] {
        let answer = post(&server, JSON, command);
        assert!(
            status(&answer) == status_is && answer.contains(why),
            "{command}: {answer}"
        );
    }
    let long = post(&server, JSON, &" ".repeat(5000));
    assert_eq!(status(&long), "413", "{long}");
}

#[test]
fn pages_that_follow_and_never_read_are_so_many_and_the_rest_is_told_to_come_later() {
    let feed = Feed::new(PageHeader::default());
    let server = WebServer::start(loopback(), feed.clone(), None).unwrap();
    let most = crate::live::ports::bounds::Bounds::of_this_process().page / 2;
    let host = server.address();
    let request = format!("GET /api/events HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut followed = Followed::new(&feed, 1);
    followed.start(1000);
    let mut followers = Vec::new();
    for _ in 0..most + 20 {
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        let taken = &status == b"HTTP/1.1 200";
        assert!(taken || &status == b"HTTP/1.1 503");
        followers.push((stream, taken));
    }
    assert_eq!(followers.iter().filter(|(_, taken)| *taken).count(), most);
    let late = get(&server, "/api/events");
    assert!(
        late.to_lowercase().contains("retry-after: 10") && late.contains("try again later"),
        "{late}"
    );
    // The run continues, and so does the page.
    for round in 1..=20 {
        followed.round(round);
        feed.flush();
    }
    let answer = get(&server, "/api/history");
    assert!(status(&answer) == "200" && answer.contains(r#""round":20"#));
}

#[test]
fn an_address_that_others_reach_shows_the_run_and_steers_it_only_with_a_token() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let steering = |token: Option<&str>| {
        let (handler, _run) = handler(token);
        let feed = Feed::new(PageHeader::default());
        let _server = WebServer::start(everywhere, feed.clone(), Some(handler)).unwrap();
        feed.history().facts.steering
    };
    assert_eq!(steering(None), Steering::Off);
    assert_eq!(steering(Some("secret")), Steering::Token);
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let first = serve(None);
    let second = WebServer::start(first.address(), Feed::new(PageHeader::default()), None);
    assert!(second.is_err());
}
