//! Serves the page, the stream and the commands.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, Responder, web};

use super::assets::{ASSETS, Asset};
use super::feed::Feed;
use super::guard;
use super::history::Steering;
use crate::control::{Ask, Desk, Reply};

/// Between two messages to a page.
const BEAT: Duration = Duration::from_millis(250);
/// So many beats without a message are worth a sign of life.
const QUIET_BEATS: u32 = 60;
/// The longest command, in bytes.
const LONGEST: usize = 4096;
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

/// What the handlers share.
struct Shared {
    feed: Feed,
    desk: Option<Desk>,
    loopback: bool,
}

impl WebServer {
    /// Starts to serve a feed on an address; port 0 takes any that is free. With a `desk` the page
    /// steers the run; on other than loopback addresses, only if the desk wants a token.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub fn start(address: SocketAddr, feed: Feed, desk: Option<Desk>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let loopback = address.ip().is_loopback();
        let desk = desk.filter(|desk| loopback || desk.wants_token());
        feed.steered(match &desk {
            None => Steering::Off,
            Some(desk) if desk.wants_token() => Steering::Token,
            Some(_) => Steering::Open,
        });
        let shared = web::Data::new(Shared {
            feed: feed.clone(),
            desk,
            loopback,
        });
        thread::Builder::new()
            .name("web".to_owned())
            .spawn(move || {
                if let Err(error) = serve(listener, &shared) {
                    tracing::warn!("the live page has stopped; the run goes on: {error}");
                }
            })?;
        Ok(Self { address, feed })
    }

    /// Where it serves.
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

fn serve(listener: TcpListener, shared: &web::Data<Shared>) -> io::Result<()> {
    actix_web::rt::System::new().block_on(async {
        actix_web::rt::spawn(beat(shared.feed.clone()));
        let shared = shared.clone();
        let app = move || {
            App::new()
                .app_data(shared.clone())
                .app_data(web::JsonConfig::default().limit(LONGEST))
                .wrap(from_fn(admit))
                .wrap(headers())
                .configure(routes)
        };
        HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .listen(listener)?
            .run()
            .await
    })
}

/// What goes with every answer, refusals too.
fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, POLICY))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"))
        .add((header::CACHE_CONTROL, "no-store"))
}

/// Everything that can be asked for.
fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/history", web::get().to(history))
        .route("/api/events", web::get().to(follow))
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

/// Lets nobody in who was sent by another site.
async fn admit(
    request: ServiceRequest,
    next: Next<impl actix_web::body::MessageBody + 'static>,
) -> Result<ServiceResponse<impl actix_web::body::MessageBody>, Error> {
    let shared = request.app_data::<web::Data<Shared>>();
    let loopback = shared.is_none_or(|shared| shared.loopback);
    match guard::refusal(request.request(), loopback) {
        Some(reason) => {
            let answer = HttpResponse::Forbidden().body(reason);
            Ok(request.into_response(answer).map_into_right_body())
        }
        None => Ok(next.call(request).await?.map_into_left_body()),
    }
}

async fn give(asset: &'static Asset) -> impl Responder {
    HttpResponse::Ok()
        .content_type(asset.kind)
        .body(asset.content)
}

async fn history(shared: web::Data<Shared>) -> impl Responder {
    HttpResponse::Ok().json(shared.feed.history())
}

async fn follow(shared: web::Data<Shared>) -> impl Responder {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .body(shared.feed.follow())
}

/// Carries a command out. That it is JSON is no formality: a form of another site cannot send it.
async fn steer(
    shared: web::Data<Shared>,
    request: HttpRequest,
    ask: web::Json<Ask>,
) -> HttpResponse {
    let Some(desk) = &shared.desk else {
        let why = "this page only shows the run; start the run with --control to steer it";
        return HttpResponse::Forbidden().json(Reply::Error(why.to_owned()));
    };
    let token = guard::text(&request, header::HeaderName::from_static(TOKEN));
    if let Some(refused) = desk.refuse(token) {
        return HttpResponse::Unauthorized().json(refused);
    }
    // The run confirms a command when it has written it down.
    let shared = shared.clone();
    let reply = web::block(move || {
        let desk = shared.desk.as_ref()?;
        Some(desk.carry_out(ask.into_inner()))
    });
    match reply.await {
        Ok(Some(Reply::Error(why))) => HttpResponse::Conflict().json(Reply::Error(why)),
        Ok(reply) => HttpResponse::Ok().json(reply),
        Err(error) => HttpResponse::InternalServerError().json(Reply::Error(error.to_string())),
    }
}
