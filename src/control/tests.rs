use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use regatta_actors::control::control;

use super::server::DESKS;
use super::*;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_request_is_a_line_of_json_with_the_command_beside_the_token() {
    let ask = Ask::Slow {
        client: 3,
        factor: 2.5,
    };
    let token = Some("secret".to_owned());
    let line = serde_json::to_string(&Request { token, ask }).unwrap();
    assert_eq!(
        line,
        r#"{"token":"secret","command":"slow","client":3,"factor":2.5}"#
    );
    let read: Request = serde_json::from_str(r#"{"command":"status"}"#).unwrap();
    assert_eq!((read.ask, read.token), (Ask::Status, None));
}

#[test]
fn commands_reach_the_run_over_the_line_and_the_status_comes_back() {
    let (handle, control) = control();
    handle.board().update(ClientId(0), |_| {});
    let server = ControlServer::start(loopback(), None, handle).unwrap();
    let ask = |what| ask(server.address(), None, what).unwrap();
    let Reply::Status(status) = ask(Ask::Status) else {
        panic!("no status");
    };
    assert_eq!(status.clients.len(), 1);
    // Nobody is there to write it down.
    let Reply::Error(reason) = ask(Ask::Drop { client: 0 }) else {
        panic!("it is confirmed");
    };
    assert!(reason.starts_with("not confirmed"), "{reason}");
    assert_eq!(
        ask(Ask::Drop { client: 7 }),
        Reply::Error("the run has no client 7".into())
    );
    let zero = Ask::Slow {
        client: 0,
        factor: 0.0,
    };
    assert!(matches!(ask(zero), Reply::Error(_)));
    drop(control);
    assert_eq!(ask(Ask::Pause), Reply::Error("the run is over".into()));
}

#[test]
fn without_the_token_nothing_is_done_and_nothing_is_told() {
    let (control, _run) = control();
    let token = Some(Token::new("secret"));
    let desk = Desk::new(token, control);
    for line in [
        r#"{"command":"status"}"#,
        r#"{"command":"status","token":"secreT"}"#,
        r#"{"command":"stop","token":""}"#,
        "status",
    ] {
        assert!(matches!(desk.answer(line), Reply::Error(_)), "{line}");
    }
    let right = r#"{"command":"status","token":"secret"}"#;
    assert!(matches!(desk.answer(right), Reply::Status(_)));
}

#[test]
fn other_machines_can_only_steer_with_a_token() {
    let (handle, _run) = control();
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = ControlServer::start(everywhere, None, handle.clone());
    assert!(matches!(refused, Err(StartError::NoToken)));
    let token = Some(Token::new("secret"));
    assert!(ControlServer::start(everywhere, token, handle).is_ok());
}

/// What comes back for these bytes.
fn say(server: &ControlServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn connections_that_say_nothing_keep_nobody_else_from_the_line() {
    let (handle, _run) = control();
    let server = ControlServer::start(loopback(), None, handle).unwrap();
    let connect = |_| TcpStream::connect(server.address()).unwrap();
    let idle: Vec<_> = (0..2 * DESKS).map(connect).collect();
    let reply = ask(server.address(), None, Ask::Status).unwrap();
    assert!(matches!(reply, Reply::Status(_)));
    drop(idle);
}

#[test]
fn what_is_no_request_gets_an_error_and_not_a_run_s_attention() {
    let (handle, _run) = control();
    let server = ControlServer::start(loopback(), None, handle).unwrap();
    for bytes in [
        b"{\"command\":\"fly\"}\n".as_slice(),
        b"{\"command\":\"slow\",\"client\":-1,\"factor\":2}\n",
        b"{\"command\":\n",
        b"\xff\xfe\n",
        b"\n",
    ] {
        let reply = say(&server, bytes);
        assert!(reply.starts_with(r#"{"error":"not understood"#), "{reply}");
    }
    let reply = say(&server, &[b'x'; 5000]);
    assert!(reply.contains("one line of at most 4096 bytes"), "{reply}");
    assert!(say(&server, b"{\"command\":\"status\"}\n").contains("status"));
}

#[test]
fn a_token_is_not_shown() {
    assert_eq!(format!("{:?}", Token::new("secret")), "Token(…)");
}
