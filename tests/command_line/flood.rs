//! All ports of a run flooded from this machine while it is killed and resumed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::survival::{FAULTS, assert_same};
use crate::workplace::{Running, Workplace};

const TOKEN: &str = "open sesame";
/// Rounds of the run: several times as many as it takes while a flood begins, which it does three times.
const ROUNDS: u32 = 96;
/// How often the run is started; it is killed each time but the last.
const STARTS: u32 = 3;
/// Connections that one kind of attack opens on one port, at most.
const CONNECTIONS: usize = 120;
/// Requests that one kind of attack sends on one port, at most.
const REQUESTS: usize = 3000;

/// What is sent where nothing good is meant.
const MALICE: [&[u8]; 7] = [
    // Nothing at all, and never a line's end.
    b"",
    b"{\"command\":\"stop\"",
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
    // Whole requests that are to be refused.
    b"{\"command\":\"stop\",\"token\":\"open says me\"}\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n",
    b"POST /api/control HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
      Content-Length: 18\r\n\r\n{\"command\":\"stop\"}",
    // A stream that nobody reads.
    b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
];

/// Attackers, who stop when this is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    attackers: Vec<JoinHandle<()>>,
    connections: Arc<AtomicUsize>,
}

impl Flood {
    fn start(ports: &[SocketAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let attacks = ports
            .iter()
            .flat_map(|port| MALICE.map(|what| (*port, what)));
        let attackers = attacks
            .map(|(port, what)| {
                let (stop, connections) = (Arc::clone(&stop), Arc::clone(&connections));
                thread::spawn(move || attack(port, what, &stop, &connections))
            })
            .collect();
        Self {
            stop,
            attackers,
            connections,
        }
    }

    /// Waits until the attackers have got in.
    fn is_felt(&self) {
        for _ in 0..1000 {
            if self.connections.load(Ordering::Relaxed) > 200 {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?} connections", self.connections);
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.attackers
            .drain(..)
            .for_each(|attacker| drop(attacker.join()));
    }
}

/// Sends the same on ever new connections, some of which stay open. Whatever is refused, closed or
/// cut off does not concern the attacker.
fn attack(port: SocketAddr, what: &[u8], stop: &AtomicBool, connections: &AtomicUsize) {
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let patience = Duration::from_millis(200);
        let Ok(mut stream) = TcpStream::connect_timeout(&port, patience) else {
            // The run was killed.
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        connections.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_write_timeout(Some(patience));
        let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
        for _ in 0..REQUESTS / CONNECTIONS {
            if stream.write_all(what).is_err() || what.is_empty() {
                break;
            }
        }
        // Little is read, so that answers pile up.
        let _ = stream.read(&mut [0; 16]);
        open.push(stream);
        // The test has a limited number of file handles too.
        if open.len() > 30 {
            open.remove(0);
        }
        thread::sleep(Duration::from_millis(1));
    }
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// The program, listening on three ports that it chose.
fn listening(
    place: &Workplace,
    line: &str,
) -> (Running, Box<dyn Iterator<Item = String>>, [SocketAddr; 3]) {
    let mut command = place.command(line);
    command
        .args(["--metrics", "127.0.0.1:0", "--web", "127.0.0.1:0"])
        .args(["--control", "127.0.0.1:0"])
        .env("REGATTA_CONTROL_TOKEN", TOKEN);
    let (running, mut lines) = Running::of(command);
    let mut ports: [Option<SocketAddr>; 3] = [None; 3];
    let prefixes = ["metrics at http://", "watch at http://", "control at "];
    while ports.contains(&None) {
        let line = lines.next().unwrap();
        for (prefix, port) in prefixes.iter().zip(&mut ports) {
            if let Some(rest) = line.strip_prefix(prefix) {
                let end = rest.find(['/', ' ', ',']).unwrap_or(rest.len());
                *port = Some(rest[..end].trim_end_matches(':').parse().unwrap());
            }
        }
    }
    (running, Box::new(lines), ports.map(|port| port.unwrap()))
}

/// Whether `ctl` gets an answer, or says that it got none.
fn steers(place: &Workplace, control: SocketAddr) -> bool {
    let mut command = place.command(&format!("ctl --control {control} status"));
    let output = command
        .env("REGATTA_CONTROL_TOKEN", TOKEN)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || errors.starts_with("error: "),
        "{errors}"
    );
    output.status.success()
}

#[test]
fn a_run_whose_ports_are_flooded_while_it_is_killed_and_resumed_ends_as_one_left_alone() {
    let place = Workplace::new();
    place.write(
        "faults.toml",
        &FAULTS.replace("rounds = 6\n", &format!("rounds = {ROUNDS}\n")),
    );
    place.accepts("run faults.toml --web off --out whole");
    let mut answered = 0;
    for start in 1..=STARTS {
        let line = match start {
            1 => "run faults.toml --out flooded --log_file log",
            _ => "resume flooded --log_file log",
        };
        let (running, mut lines, ports) = listening(&place, line);
        let flood = Flood::start(&ports);
        if start < STARTS {
            flood.is_felt();
            answered += u32::from(steers(&place, ports[2]));
            lines.find(|line| line.starts_with("round ")).unwrap();
            running.kill();
            let done = place.rounds("flooded").len();
            assert!(
                done < ROUNDS as usize,
                "the run was over before it was killed"
            );
        } else {
            lines.for_each(drop);
            let status = running.wait();
            assert!(status.success(), "{status}");
        }
        drop(flood);
    }
    assert!(answered > 0, "ctl was never answered");
    assert_same(&place, "whole", "flooded");
    let log = place.path().join("log").metadata().unwrap().len();
    assert!(log < 200_000, "the log has {log} bytes");
}
