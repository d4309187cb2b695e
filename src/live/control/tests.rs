use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use regatta_actors::observe::control::control;
use regatta_actors::observe::hosts::HostStatus;

use super::*;
use crate::live::control::client::{PATIENCE, RequestError, send};
use crate::live::control::request::Request;
use crate::live::control::server::{CommandHandler, ControlServer, ControlServerError, LONGEST};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_request_is_a_line_of_json_with_the_command_beside_the_token() {
    let action = Action::Slow {
        client: 3,
        factor: 2.5,
    };
    let token = Some("secret".to_owned());
    let line = serde_json::to_string(&Request { token, action }).unwrap();
    assert_eq!(
        line,
        r#"{"token":"secret","command":"slow","client":3,"factor":2.5}"#
    );
    let read: Request = serde_json::from_str(r#"{"command":"status"}"#).unwrap();
    assert_eq!((read.action, read.token), (Action::Status, None));
}

#[test]
fn commands_reach_the_run_over_the_line_and_the_status_comes_back() {
    let (handle, control) = control();
    handle.board().update(ClientId(0), |_| {});
    let server = ControlServer::start(loopback(), None, handle).unwrap();
    // Nobody is there to write it down.
    let error = send(server.address(), None, Action::Drop { client: 0 }).unwrap_err();
    assert!(matches!(error, RequestError::NotConfirmed(..)), "{error}");
    let reply = |what| send(server.address(), None, what).unwrap();
    let Reply::Status(status) = reply(Action::Status) else {
        panic!("no status");
    };
    assert_eq!(status.clients.len(), 1);
    assert_eq!(
        reply(Action::Drop { client: 7 }),
        Reply::Error("the run has no client 7".into())
    );
    let zero = Action::Slow {
        client: 0,
        factor: 0.0,
    };
    assert!(matches!(reply(zero), Reply::Error(_)));
    drop(control);
    assert_eq!(reply(Action::Pause), Reply::Error("the run is over".into()));
}

#[test]
fn workers_come_back_over_the_line_and_one_that_is_there_is_drained() {
    let (handle, control) = control();
    let mut host = HostStatus::new("a", "CPU");
    host.heard = Some(host.joined);
    handle.hosts().add("a.1", host);
    let server = ControlServer::start(loopback(), None, handle).unwrap();
    let Reply::Workers(workers) = send(server.address(), None, Action::Workers).unwrap() else {
        panic!("no workers");
    };
    assert_eq!(workers.hosts[0].id, "a.1");
    let drain = |host: &str| send(server.address(), None, Action::Drain { host: host.into() });
    let unknown = drain("b").unwrap();
    let names = "no worker is called b; there are: a";
    assert_eq!(unknown, Reply::Error(names.into()));
    // Nobody is there to tell it.
    let error = drain("a").unwrap_err();
    assert!(matches!(error, RequestError::NotConfirmed(..)), "{error}");
    drop(control);
    assert_eq!(drain("a").unwrap(), Reply::Error("the run is over".into()));
}

#[test]
fn without_the_token_nothing_is_done_and_nothing_is_told() {
    let (control, _run) = control();
    let token = Some(Token::new("secret"));
    let handler = CommandHandler::new(token, control);
    for line in [
        r#"{"command":"status"}"#,
        r#"{"command":"status","token":"secreT"}"#,
        r#"{"command":"stop","token":""}"#,
        "status",
    ] {
        assert!(matches!(handler.answer(line), Reply::Error(_)), "{line}");
    }
    let right = r#"{"command":"status","token":"secret"}"#;
    assert!(matches!(handler.answer(right), Reply::Status(_)));
}

#[test]
fn other_machines_can_only_steer_with_a_token() {
    let (handle, _run) = control();
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = ControlServer::start(everywhere, None, handle.clone());
    assert!(matches!(refused, Err(ControlServerError::NoToken)));
    let token = Some(Token::new("secret"));
    assert!(ControlServer::start(everywhere, token, handle).is_ok());
}

/// The reply to these bytes.
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
    let connect = |part: &[u8]| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(part).unwrap();
        stream
    };
    let idle: Vec<_> = (0..150)
        .flat_map(|_| [connect(b""), connect(b"{\"command\":")])
        .collect();
    for _ in 0..20 {
        let reply = send(server.address(), None, Action::Status).unwrap();
        assert!(matches!(reply, Reply::Status(_)));
    }
    drop(idle);
}

#[test]
fn a_line_without_end_is_refused_and_the_refusal_arrives() {
    let (handle, _run) = control();
    let server = ControlServer::start(loopback(), None, handle).unwrap();
    for length in [LONGEST + 1, 1 << 20] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(&vec![b'x'; length]).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.contains("one line of at most"), "{reply}");
    }
}

/// A listener that does this with its connections, one after the other.
fn stand_in(serve: impl Fn(usize, TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            serve(number, stream.unwrap());
        }
    });
    address
}

#[test]
fn what_is_not_answered_in_time_is_not_confirmed() {
    let silent = |_, mut stream: TcpStream| drop(stream.read_to_end(&mut Vec::new()));
    let trickling = |_, mut stream: TcpStream| {
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    };
    let asked = [stand_in(silent), stand_in(trickling)].map(|address| {
        thread::spawn(move || {
            let begin = Instant::now();
            (
                send(address, None, Action::Stop).unwrap_err(),
                begin.elapsed(),
            )
        })
    });
    for asked in asked {
        let (error, took) = asked.join().unwrap();
        assert!(matches!(error, RequestError::NotConfirmed(..)), "{error}");
        let said = error.to_string();
        assert!(said.starts_with("not confirmed: "), "{said}");
        assert!(
            said.contains("not within 2 s") && took >= PATIENCE,
            "{said}"
        );
    }
}

#[test]
fn a_connection_closed_unheard_is_tried_again_and_one_that_stays_closed_is_not_confirmed() {
    let answers = |number: usize, mut stream: TcpStream| {
        if number > 3 {
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(b"{\"done\":\"at last\"}\n").unwrap();
        }
    };
    let reply = send(stand_in(answers), None, Action::Pause).unwrap();
    assert_eq!(reply, Reply::Done("at last".into()));
    let error = send(stand_in(|_, stream| drop(stream)), None, Action::Pause).unwrap_err();
    assert!(matches!(error, RequestError::NotConfirmed(..)), "{error}");
}

#[test]
fn where_nobody_listens_nothing_was_done() {
    let address = {
        let listener = TcpListener::bind(loopback()).unwrap();
        listener.local_addr().unwrap()
    };
    let error = send(address, None, Action::Stop).unwrap_err();
    assert!(
        matches!(&error, RequestError::NoAnswer(_, why) if why.kind() == ErrorKind::ConnectionRefused),
        "{error}"
    );
}

#[test]
fn nothing_stands_in_a_request_that_means_nothing() {
    let (handle, _run) = control();
    handle.board().update(ClientId(0), |_| {});
    let handler = CommandHandler::new(None, handle);
    for (line, why) in [
        (
            r#"{"command":"pause","client":0}"#,
            "`pause` does not concern a client",
        ),
        (
            r#"{"command":"drop","client":0,"factor":2}"#,
            "`drop` has no factor",
        ),
        (
            r#"{"command":"pause","host":"a"}"#,
            "`pause` does not concern a worker",
        ),
        (r#"{"command":"drain"}"#, "missing field `host`"),
        (r#"{"command":"drain","host":0}"#, "expected a string"),
        (r#"{"command":"stop","now":true}"#, "unknown field `now`"),
        (
            r#"{"command":"slow","client":0,"Factor":2}"#,
            "unknown field `Factor`",
        ),
        (
            r#"{"command":"drop","client":0,"client":1}"#,
            "duplicate field `client`",
        ),
        (
            r#"{"command":"pause","command":"stop"}"#,
            "duplicate field `command`",
        ),
        (r#"{"command":"slow","client":0}"#, "missing field `factor`"),
        (r#"{"command":"drop"}"#, "missing field `client`"),
        (r#"{"command":"drop","client":4294967296}"#, "expected u32"),
        (r#"{"command":"drop","client":-1}"#, "expected u32"),
        (r#"{"command":"drop","client":0.5}"#, "expected u32"),
        (r#"{"command":"drop","client":"0"}"#, "expected u32"),
        (
            r#"{"command":"slow","client":0,"factor":"NaN"}"#,
            "expected f64",
        ),
        (
            r#"{"command":"slow","client":0,"factor":NaN}"#,
            "not understood",
        ),
        (
            r#"{"command":"slow","client":0,"factor":1e999}"#,
            "out of range",
        ),
        (r#"{"command":"fly"}"#, "unknown variant `fly`"),
        (r#"{"command":7}"#, "expected a string"),
        (r#"["pause"]"#, "not understood"),
        ("null", "not understood"),
        (r#"{"command":"drop","client":4294967295}"#, "has no client"),
        (
            r#"{"command":"pause"} {"command":"stop"}"#,
            "trailing characters",
        ),
    ] {
        let Reply::Error(said) = handler.answer(line) else {
            panic!("{line} was taken");
        };
        assert!(said.contains(why), "{line}: {said}");
    }
    let nested = "[".repeat(4000);
    assert!(matches!(handler.answer(&nested), Reply::Error(_)));
    for line in [
        r#"{"command":"pause","client":null}"#,
        r#"{"factor":2,"client":0,"command":"slow"}"#,
    ] {
        assert!(
            matches!(handler.answer(line), Reply::NotConfirmed(_)),
            "{line}"
        );
    }
}

#[test]
fn a_client_is_slowed_by_what_virtual_time_can_tell() {
    let (handle, _run) = control();
    handle.board().update(ClientId(0), |_| {});
    let handler = CommandHandler::new(None, handle);
    let slow = |factor| handler.execute(Action::Slow { client: 0, factor });
    for factor in [1e-3, 1.0, 1e6] {
        assert!(matches!(slow(factor), Reply::NotConfirmed(_)), "{factor}");
    }
    for factor in [
        0.0,
        -0.0,
        -1.0,
        9.9e-4,
        1.000_001e6,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ] {
        let right = "the factor must be a number from 0.001 to 1000000";
        assert_eq!(slow(factor), Reply::Error(right.into()), "{factor}");
    }
}

/// Gathers what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_hundred_thousand_refused_requests_are_one_line_of_the_log() {
    let (handle, _run) = control();
    let handler = CommandHandler::new(Some(Token::new("right")), handle);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..50_000 {
            let line = r#"{"command":"status","token":"wrong"}"#;
            assert!(matches!(handler.answer(line), Reply::Error(_)));
            assert!(matches!(handler.answer("{malformed"), Reply::Error(_)));
        }
    });
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(lines.contains("without the right token"), "{lines}");
    assert_eq!(lines.lines().count(), 1, "{lines}");
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
