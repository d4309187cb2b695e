//! A connection that can be closed from without.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::live::ports::slots::{SlotNumber, Slots};

/// A port's connections. All of a port happens on one thread.
pub(crate) type Open = Rc<RefCell<Slots<Rc<Socket>>>>;

/// A socket, until it is cut.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: RefCell<Option<TcpStream>>,
    waker: RefCell<Option<Waker>>,
}

impl Socket {
    /// Closes the socket, which releases its file handle at once, and has its server
    /// notice.
    pub(crate) fn cut(&self) {
        drop(self.stream.take());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Does something with the socket; an error if it was cut.
    fn with<T>(
        &self,
        context: &mut Context<'_>,
        work: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut stream = self.stream.borrow_mut();
        let Some(stream) = stream.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        let done = work(Pin::new(stream), context);
        if done.is_pending() {
            let mut waker = self.waker.borrow_mut();
            match waker.as_mut() {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
        }
        done
    }
}

/// Where a connection stands among the others of its port; cheap to clone.
#[derive(Clone)]
pub struct ConnectionId {
    number: SlotNumber,
    open: Open,
}

impl ConnectionId {
    /// Makes the connection a stream, on which nothing may happen for long, for as long as what
    /// comes back lives; `None`: there are as many streams as the port has room for.
    #[must_use]
    pub fn hold(&self) -> Option<Held> {
        let held = self.open.borrow_mut().hold(self.number);
        held.then(|| Held(self.clone()))
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.number)
    }
}

/// A connection is a stream for as long as this lives.
#[derive(Debug)]
pub struct Held(ConnectionId);

impl Drop for Held {
    fn drop(&mut self) {
        let ConnectionId { number, open } = &self.0;
        open.borrow_mut().let_go(*number, Instant::now());
    }
}

/// A client's connection. Once its time is over, or others need its room, it can neither be
/// read nor written.
#[derive(Debug)]
pub struct Connection {
    line: Rc<Socket>,
    place: ConnectionId,
}

impl Connection {
    /// Takes a socket in, at the cost of the connection that has waited for longest where there is
    /// no room; says whether that was so.
    pub(crate) fn admit(stream: TcpStream, open: &Open) -> (Self, bool) {
        let line = Rc::new(Socket {
            stream: RefCell::new(Some(stream)),
            waker: RefCell::default(),
        });
        let surplus = open.borrow_mut().make_room();
        if let Some(surplus) = &surplus {
            surplus.cut();
        }
        let number = open.borrow_mut().admit(Rc::clone(&line), Instant::now());
        let place = ConnectionId {
            number,
            open: Rc::clone(open),
        };
        (Self { line, place }, surplus.is_some())
    }

    /// Its position among the others.
    #[must_use]
    pub fn place(&self) -> &ConnectionId {
        &self.place
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.place.open.borrow_mut().remove(self.place.number);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.line
            .with(context, |stream, context| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = self
            .line
            .with(context, |stream, context| stream.poll_write(context, bytes));
        let ConnectionId { number, open } = &self.place;
        match &done {
            Poll::Ready(Ok(_)) => open.borrow_mut().wrote(*number, Instant::now()),
            Poll::Pending => open.borrow_mut().could_not_write(*number, Instant::now()),
            Poll::Ready(Err(_)) => {}
        }
        done
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line
            .with(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line
            .with(context, |stream, context| stream.poll_shutdown(context))
    }
}
