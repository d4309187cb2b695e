//! Serves the page, the stream, texts and the commands.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, Error, HttpRequest, HttpResponse, Responder, web};

use crate::live::control::Reply;
use crate::live::control::request::Request;
use crate::live::control::server::CommandHandler;
use crate::live::page::assets::{ASSETS, Asset};
use crate::live::page::feed::Feed;
use crate::live::page::history::Steering;
use crate::live::ports::bounds::Bounds;
use crate::live::ports::connection::ConnectionId;
use crate::live::ports::listener::Port;
use crate::live::ports::{guard, http};

/// Between two messages to a page.
const BEAT: Duration = Duration::from_millis(250);
/// After N beats without a message, a sign of life is sent.
const QUIET_BEATS: u32 = 60;
/// The longest command, in bytes.
const LONGEST: usize = 4096;
/// When a page that found no room may try again, in seconds.
const RETRY_AFTER: &str = "10";
/// The header that a token comes in.
const TOKEN: &str = "x-regatta-token";
/// What the page may load: its own files, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// A page that is served until this is dropped; open pages then get the last changes.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    feed: Feed,
}

/// The state that the handlers share.
struct ServerState {
    feed: Feed,
    handler: Option<CommandHandler>,
}

impl WebServer {
    /// Starts to serve a feed on an address; port 0 takes any that is free. With a `handler`, the
    /// command handler, the page steers the run; beyond loopback addresses, only if the handler
    /// requires a token.
    ///
    /// # Errors
    /// If the address is taken or not this machine's.
    pub fn start(
        address: SocketAddr,
        feed: Feed,
        handler: Option<CommandHandler>,
    ) -> io::Result<Self> {
        let loopback = address.ip().is_loopback();
        let handler = handler.filter(|handler| loopback || handler.wants_token());
        feed.steered(match &handler {
            None => Steering::Off,
            Some(handler) if handler.wants_token() => Steering::Token,
            Some(_) => Steering::Open,
        });
        let port = Port {
            name: "web",
            capacity: Bounds::of_this_process().page,
            warnings: handler
                .iter()
                .map(|handler| handler.refusals().clone())
                .collect(),
        };
        let shared = web::Data::new(ServerState {
            feed: feed.clone(),
            handler,
        });
        let address = http::serve(port, address, move || {
            tokio::task::spawn_local(beat(shared.feed.clone()));
            application(shared, loopback)
        })?;
        Ok(Self { address, feed })
    }

    /// The address that it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.feed.end();
    }
}

/// The page, the stream and the commands.
fn application(
    shared: web::Data<ServerState>,
    loopback: bool,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(shared)
        .app_data(web::JsonConfig::default().limit(LONGEST))
        .wrap(from_fn(move |request, next| {
            guard::admit(loopback, request, next)
        }))
        .wrap(headers())
        .configure(routes)
}

/// The headers of every answer, refusals too.
fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, POLICY))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"))
        .add((header::CACHE_CONTROL, "no-store"))
}

/// All routes.
fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/history", web::get().to(history))
        .route("/api/events", web::get().to(follow))
        .route("/api/texts/{round}", web::get().to(texts))
        .route("/api/control", web::post().to(steer));
    for asset in ASSETS {
        config.route(asset.path, web::get().to(move || give(asset)));
    }
}

async fn beat(feed: Feed) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beats: u32 = 0;
    loop {
        ticks.tick().await;
        feed.flush();
        beats += 1;
        if beats.is_multiple_of(QUIET_BEATS) {
            feed.keep_alive();
        }
    }
}

async fn give(asset: &'static Asset) -> impl Responder {
    HttpResponse::Ok()
        .content_type(asset.kind)
        .body(asset.content)
}

async fn history(shared: web::Data<ServerState>) -> impl Responder {
    HttpResponse::Ok().json(shared.feed.history())
}

/// The first texts that were written after a round, from the run's folder.
async fn texts(shared: web::Data<ServerState>, round: web::Path<u32>) -> HttpResponse {
    let source = shared.feed.texts();
    let sample = web::block(move || source.map(|source| source.sample(*round)).transpose());
    match sample.await {
        Ok(Ok(sample)) => match sample.flatten() {
            Some(sample) => HttpResponse::Ok().json(sample),
            None => HttpResponse::NotFound().body("no texts were written after this round"),
        },
        Ok(Err(error)) => HttpResponse::InternalServerError().body(error.to_string()),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn follow(shared: web::Data<ServerState>, request: HttpRequest) -> HttpResponse {
    let Some(held) = http::place(&request).and_then(ConnectionId::hold) else {
        return HttpResponse::ServiceUnavailable()
            .insert_header((header::RETRY_AFTER, RETRY_AFTER))
            .force_close()
            .body("too many pages follow this run; close one, or try again later");
    };
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .body(shared.feed.follow().over(held))
}

/// Carries a command out. It must be JSON: a form of another site cannot send it.
async fn steer(
    shared: web::Data<ServerState>,
    request: HttpRequest,
    command: web::Json<Request>,
) -> HttpResponse {
    let Some(handler) = &shared.handler else {
        let why = "this page only shows the run; start the run with --control to steer it";
        return HttpResponse::Forbidden().json(Reply::Error(why.to_owned()));
    };
    let token = guard::text(&request, header::HeaderName::from_static(TOKEN));
    if let Some(refused) = handler.refuse(token) {
        return HttpResponse::Unauthorized().json(refused);
    }
    // The run confirms a command when it has written it down.
    let shared = shared.clone();
    let reply = web::block(move || {
        let handler = shared.handler.as_ref()?;
        Some(handler.execute(command.into_inner().action))
    });
    match reply.await {
        Ok(Some(Reply::Error(why) | Reply::NotConfirmed(why))) => {
            HttpResponse::Conflict().json(Reply::Error(why))
        }
        Ok(reply) => HttpResponse::Ok().json(reply),
        Err(error) => HttpResponse::InternalServerError().json(Reply::Error(error.to_string())),
    }
}
