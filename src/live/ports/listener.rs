//! Accepts a port's connections.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::live::ports::connection::{Connection, Open};
use crate::live::ports::slots::Slots;
use crate::live::ports::warning::Warning;

/// Between two looks at whose time is over.
const ROUND: Duration = Duration::from_millis(250);
/// A pause after a connection could not be accepted, for example for lack of file handles.
const REST: Duration = Duration::from_millis(250);

/// The name and the limits of a port.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name, which is its thread's too.
    pub name: &'static str,
    /// Connections at a time.
    pub capacity: usize,
    /// The warnings that its requests may cause.
    pub warnings: Vec<Warning>,
}

/// Binds an address and runs `serve` with the listener on its own thread and runtime,
/// for as long as the process lives. Gives the address, in which port 0 is replaced by the one
/// that the system chose.
///
/// # Errors
/// If the address is taken or not this machine's, or the system cannot start a thread.
pub fn listen<F>(
    name: &'static str,
    address: SocketAddr,
    serve: impl FnOnce(tokio::net::TcpListener) -> F + Send + 'static,
) -> io::Result<SocketAddr>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = move || {
        LocalSet::new().block_on(&runtime, async move {
            serve(tokio::net::TcpListener::from_std(listener)?).await
        })
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if let Err(error) = ended() {
                tracing::warn!(
                    "the {name} port has stopped; the run continues without it: {error}"
                );
            }
        })?;
    Ok(address)
}

impl Port {
    /// Has `serve` attend to each connection, until that ends or the connection's time is over.
    /// Never ends.
    pub async fn accept<F>(
        self,
        listener: tokio::net::TcpListener,
        serve: impl Fn(Connection, SocketAddr) -> F,
    ) where
        F: Future<Output = ()> + 'static,
    {
        let open: Open = Rc::new(RefCell::new(Slots::new(self.capacity)));
        let name = self.name;
        let full = Warning::of(format!("the {name} port is full"));
        let failed = Warning::of(format!("the {name} port could not accept a connection"));
        let own = [full.clone(), failed.clone()];
        let warnings = self.warnings.into_iter().chain(own).collect();
        spawn_local(look_after(Rc::clone(&open), warnings));
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (connection, crowded) = Connection::admit(stream, &open);
                    if crowded {
                        let capacity = open.borrow().capacity();
                        full.because(format_args!(
                            "of {capacity} connections, the longest idle one was closed"
                        ));
                    }
                    spawn_local(serve(connection, peer));
                    // An accepted client may send its request before the next one comes.
                    yield_now().await;
                }
                Err(error) => {
                    failed.because(error);
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

/// Closes the connections whose time is over, and tells what was counted.
async fn look_after(open: Open, warnings: Vec<Warning>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let expired = open.borrow_mut().expire(Instant::now());
        for line in expired {
            line.cut();
        }
        warnings.iter().for_each(Warning::tell_count);
    }
}
