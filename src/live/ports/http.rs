//! HTTP over a port's connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::{App, Error, HttpRequest};

use crate::live::ports::connection::{Connection, ConnectionId};
use crate::live::ports::listener::{Port, listen};

/// How long a peer that was refused in the middle of its request may take to hear of it.
const LINGER: Duration = Duration::from_secs(1);

/// Serves an application on an address, where port 0 takes any free one, and returns the
/// address.
///
/// # Errors
/// If the address is taken or not this machine's, or the system cannot start a thread.
pub fn serve<S, B>(
    port: Port,
    address: SocketAddr,
    application: impl FnOnce() -> App<S> + Send + 'static,
) -> io::Result<SocketAddr>
where
    S: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    listen(port.name, address, move |listener| async move {
        let application = application().into_factory();
        // The port limits the duration of a connection.
        let service = HttpService::<Connection, _, _>::build()
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            // A reader that has gone leaves its place at once, not at the next message to it.
            .h1_allow_half_closed(false)
            .on_connect_ext(|connection: &Connection, extensions| {
                extensions.insert(connection.place().clone());
            })
            .h1(map_config(application, |()| AppConfig::default()))
            .new_service(())
            .await
            .map_err(|()| io::Error::other("the application cannot be built"))?;
        let serve = |connection, peer| {
            let served = service.call((connection, Some(peer)));
            async move {
                // How a connection ends is up to its peer, and not logged.
                let _ = served.await;
            }
        };
        port.accept(listener, serve).await;
        Ok(())
    })
}

/// The place of the connection that a request came over.
pub fn place(request: &HttpRequest) -> Option<&ConnectionId> {
    request.conn_data::<ConnectionId>()
}
