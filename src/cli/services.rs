//! The services around a run: metrics, the live page, and control.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::SystemTime;

use regatta_actors::observe::control::{Control, ControlHandle, control};

use crate::base::time;
use crate::config::plan::Plan;
use crate::config::problems::Problems;
use crate::config::settings::{Defaulted, SETTINGS};
use crate::live::control::Token;
use crate::live::control::server::{CommandHandler, ControlServer};
use crate::live::log::LogFile;
use crate::live::metrics::exporter::Exporter;
use crate::live::page::feed::Feed;
use crate::live::page::history::PageHeader;
use crate::live::page::server::WebServer;
use crate::live::terminal::output::print_line;
use crate::runs::folder::summary::RunInfo;

/// The services around a run.
pub(crate) struct RunServices {
    pub(crate) exporter: Option<Exporter>,
    pub(crate) page: Option<(WebServer, Feed)>,
    pub(crate) handle: ControlHandle,
    pub(crate) control: Control,
    pub(crate) log: Option<LogFile>,
}

impl RunServices {
    /// Listens where the plan says so; before there is a folder, since an address may be wrong.
    /// `on_hosts`: whether the lanes are those of other hosts.
    pub(crate) fn set_up(
        plan: &Plan,
        on_hosts: bool,
        log: Option<LogFile>,
    ) -> Result<Self, Problems> {
        let serves = time::http_can_tell(SystemTime::now());
        if !serves && (plan.telemetry.metrics.is_some() || plan.telemetry.web.is_some()) {
            tracing::warn!(
                "no metrics and no live page: the system clock is before 1970 or after 9999, which \
                 HTTP cannot express"
            );
        }
        let exporter = if serves { serve_metrics(plan)? } else { None };
        let (handle, control) = control();
        serve_control(plan, &handle)?;
        let page = if serves {
            serve_page(plan, on_hosts, &handle)?
        } else {
            None
        };
        Ok(Self {
            exporter,
            page,
            handle,
            control,
            log,
        })
    }
}

/// Serves metrics where the plan says so.
fn serve_metrics(plan: &Plan) -> Result<Option<Exporter>, Problems> {
    let Some(address) = plan.telemetry.metrics else {
        return Ok(None);
    };
    let setting = &SETTINGS.metrics;
    match Exporter::start(address, &plan.name) {
        Ok(exporter) => {
            let address = exporter.address();
            print_line(format_args!("metrics at http://{address}/metrics"));
            Ok(Some(exporter))
        }
        Err(error) if is_chosen(setting, plan.settings.metrics.as_ref()) => {
            Err(taken(plan, setting, error))
        }
        Err(error) => {
            warn_of("metrics", setting, address, error);
            Ok(None)
        }
    }
}

/// Listens for commands where the plan says so.
fn serve_control(plan: &Plan, handle: &ControlHandle) -> Result<(), Problems> {
    let Some(address) = plan.control else {
        return Ok(());
    };
    let token = Token::from_environment();
    let server = ControlServer::start(address, token, handle.clone())
        .map_err(|error| taken(plan, &SETTINGS.control, error))?;
    let address = server.address();
    print_line(format_args!(
        "control at {address}: regatta ctl --control {address} status"
    ));
    Ok(())
}

/// Serves the live page where the plan says so. If the default port is taken, another is tried; if
/// none is free, the run continues without the page.
fn serve_page(
    plan: &Plan,
    on_hosts: bool,
    handle: &ControlHandle,
) -> Result<Option<(WebServer, Feed)>, Problems> {
    let Some(address) = plan.telemetry.web else {
        return Ok(None);
    };
    let feed = Feed::new(header(plan, on_hosts));
    feed.watch(handle.hosts().clone());
    let handler = || {
        let token = Token::from_environment();
        plan.control
            .map(|_| CommandHandler::new(token, handle.clone()))
    };
    let setting = &SETTINGS.web;
    let is_chosen = is_chosen(setting, plan.settings.web.as_ref());
    let mut served = WebServer::start(address, feed.clone(), handler());
    if served.is_err() && !is_chosen {
        let any = SocketAddr::new(address.ip(), 0);
        served = WebServer::start(any, feed.clone(), handler());
    }
    match served {
        Ok(server) => {
            print_line(format_args!("watch at http://{}/", server.address()));
            Ok(Some((server, feed)))
        }
        Err(error) if is_chosen => Err(taken(plan, setting, error)),
        Err(error) => {
            warn_of("the live page", setting, address, error);
            Ok(None)
        }
    }
}

/// Whether the user chose an address. If so, it is an error that it cannot be served; the default
/// may be taken by another run.
fn is_chosen(setting: &Defaulted<String>, address: Option<&String>) -> bool {
    address != Some(&setting.default_value())
}

/// The error of an address that cannot be served.
fn taken(plan: &Plan, setting: &Defaulted<String>, error: impl Display) -> Problems {
    let mut problems = plan.problems();
    let right = "name another address, port 0 for any that is free, or off";
    problems.report(setting.facts.key, error, right);
    problems
}

fn warn_of(what: &str, setting: &Defaulted<String>, address: SocketAddr, error: impl Display) {
    let key = setting.facts.key;
    tracing::warn!("cannot serve {what} at {address}: {error}; name another address with --{key}");
}

fn header(plan: &Plan, on_hosts: bool) -> PageHeader {
    let lanes = plan.devices.lanes.iter().filter(|_| !on_hosts);
    PageHeader {
        identity: RunInfo::of(plan),
        rounds: plan.rounds,
        lanes: lanes.map(|lane| lane.device.to_string()).collect(),
        metrics: plan.data.task.metric_set(),
        ..PageHeader::default()
    }
}
