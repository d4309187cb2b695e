//! Events in words.

use regatta_actors::ids::ClientId;
use regatta_actors::plan::fault::FaultName;
use regatta_actors::protocol::control::{ControlCommand, Intervention};
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::EndReason;
use regatta_actors::protocol::round_record::RoundRecord;
use regatta_actors::workload::update::Refusal;

use crate::base::table::{count, show_number};
use crate::live::page::changes::{Level, LogLine};

/// Refusals of a round that have a line each.
const MOST_REFUSALS: usize = 8;

/// The facts of the run that a line needs.
pub(crate) trait RunFacts {
    /// A client's name.
    fn name(&self, client: ClientId) -> &str;

    /// Whether the fleet is small enough for a line for each client.
    fn is_small(&self) -> bool;

    /// A line of now, without text yet.
    fn blank_line(&self) -> LogLine;
}

/// The event as a line, if people want to read of it.
pub(crate) fn line(run: &impl RunFacts, event: &Event) -> Option<LogLine> {
    let (level, client, text) = run_event(event)
        .map(|(level, text)| (level, None, text))
        .or_else(|| client_event(run, event).map(|(l, c, text)| (l, Some(c.0), text)))
        .or_else(|| commanded(run, event))?;
    Some(LogLine {
        client,
        level,
        text,
        ..run.blank_line()
    })
}

fn run_event(event: &Event) -> Option<(Level, String)> {
    Some(match event {
        Event::RunStarted {
            clients, rounds, ..
        } => (
            Level::Good,
            format!("the run starts: {} clients, {rounds} rounds", clients.len()),
        ),
        Event::RunResumed { after_round, .. } => (
            Level::Good,
            format!("the run resumes after round {after_round}"),
        ),
        Event::RoundFinished(record) => finished(record),
        Event::RoundRetried { updates, .. } => (
            Level::Warning,
            format!("only {updates} updates arrived; the round selects clients again"),
        ),
        Event::RoundSkipped { updates, .. } => (
            Level::Bad,
            format!("only {updates} updates arrived; the round aggregates nothing"),
        ),
        Event::ServerCrashed { .. } => (Level::Bad, "the server crashed".to_owned()),
        Event::ServerRecovered { .. } => (Level::Good, "the server is back".to_owned()),
        Event::ServerFailed { reason, .. } => {
            (Level::Bad, format!("the server is rebuilt: {reason}"))
        }
        Event::Paused { round } => (Level::Warning, format!("paused after round {round}")),
        Event::LaneFailed { lane, reason } => {
            (Level::Bad, format!("lane {} is gone: {reason}", lane.0))
        }
        Event::HostJoined { .. }
        | Event::HostLeft { .. }
        | Event::HostRefused { .. }
        | Event::BrokerReached
        | Event::BrokerAway { .. } => host_event(event)?,
        Event::RunFinished { ending, error, .. } => over(*ending, error.as_deref()),
        _ => return None,
    })
}

fn host_event(event: &Event) -> Option<(Level, String)> {
    Some(match event {
        Event::HostJoined { host, lanes, .. } => {
            let lanes = count(lanes.len(), "lane");
            (Level::Good, format!("host {host} joins with {lanes}"))
        }
        Event::HostLeft {
            host,
            lost: true,
            reason,
        } => (Level::Bad, format!("host {host} is lost: {reason}")),
        Event::HostLeft { host, reason, .. } => {
            (Level::Warning, format!("host {host} leaves: {reason}"))
        }
        Event::HostRefused { host, reason } => {
            (Level::Bad, format!("host {host} is refused: {reason}"))
        }
        Event::BrokerReached => (Level::Good, "the broker answers".to_owned()),
        Event::BrokerAway { reason } => (Level::Bad, format!("the broker is away: {reason}")),
        _ => return None,
    })
}

fn finished(record: &RoundRecord) -> (Level, String) {
    let (aggregated, parts) = (record.aggregated(), record.clients.len());
    let loss = record.train_loss.map_or_else(String::new, |loss| {
        format!(", train loss {}", show_number(loss, 4))
    });
    let (level, all) = match aggregated {
        0 if record.all_refused() => (Level::Bad, ", every update was refused"),
        0 => (Level::Warning, ""),
        _ => (Level::Good, ""),
    };
    let round = record.round;
    (
        level,
        format!("round {round}: {aggregated} of {parts} aggregated{loss}{all}"),
    )
}

/// The updates that a round refused, as lines; of many, only the first.
pub(crate) fn refusals(run: &impl RunFacts, record: &RoundRecord) -> Vec<LogLine> {
    let line = |refusal: &Refusal| LogLine {
        client: Some(refusal.client.0),
        level: Level::Bad,
        text: format!(
            "{} was refused: {}",
            run.name(refusal.client),
            refusal.reason
        ),
        ..run.blank_line()
    };
    let mut lines: Vec<LogLine> = record
        .refused
        .iter()
        .take(MOST_REFUSALS)
        .map(line)
        .collect();
    let more = record.refused.len().saturating_sub(MOST_REFUSALS);
    if more > 0 {
        lines.push(LogLine {
            level: Level::Bad,
            text: format!("{more} more were refused"),
            ..run.blank_line()
        });
    }
    lines
}

fn over(ending: Option<EndReason>, error: Option<&str>) -> (Level, String) {
    match (ending, error) {
        (_, Some(error)) => (Level::Bad, format!("the run ended: {error}")),
        (Some(EndReason::Complete), None) => (Level::Good, "the run is complete".to_owned()),
        (Some(EndReason::StoppedAfterRound), None) => {
            (Level::Warning, "stopped after the round".to_owned())
        }
        _ => (Level::Bad, "stopped during the round".to_owned()),
    }
}

fn client_event(run: &impl RunFacts, event: &Event) -> Option<(Level, ClientId, String)> {
    let (level, client, did) = match event {
        // In a large fleet this is the rule, and its result is reported as well.
        Event::FaultInjected { client, fault, .. } if run.is_small() => (
            Level::Warning,
            client,
            format!("is affected by {}", named(*fault)),
        ),
        Event::ClientDropped {
            client,
            steps,
            rejoin,
            ..
        } => (Level::Bad, client, dropped(*steps, *rejoin)),
        Event::ClientFailed {
            client,
            reason,
            back_at,
            ..
        } => {
            let what = if back_at.is_some() {
                "and restarts"
            } else {
                "too often and is retired"
            };
            (Level::Bad, client, format!("failed {what}: {reason}"))
        }
        Event::JobVerified { client, wrong, .. } if !wrong.is_empty() => (
            Level::Bad,
            client,
            format!("was trained wrongly on {}, which leaves", wrong.join(", ")),
        ),
        Event::JobRedone { client, reason, .. } => (
            Level::Warning,
            client,
            format!("is trained once more: {reason}"),
        ),
        Event::UpdateLost { client, .. } => (
            Level::Bad,
            client,
            "sent an update that was lost".to_owned(),
        ),
        Event::UpdateLate { client, .. } => {
            (Level::Warning, client, "was late for the round".to_owned())
        }
        Event::UpdateStale {
            client, staleness, ..
        } => (
            Level::Warning,
            client,
            format!("sent an update {staleness} rounds old; it was dropped"),
        ),
        Event::UpdateDuplicated { client, .. } => (
            Level::Warning,
            client,
            "sent a duplicate update; it was dropped".to_owned(),
        ),
        Event::LaneStalled {
            client,
            lane,
            seconds,
        } => (
            Level::Warning,
            client,
            format!("has made no progress on lane {} for {seconds:.0} s", lane.0),
        ),
        _ => return None,
    };
    Some((level, *client, format!("{} {did}", run.name(*client))))
}

fn dropped(steps: u64, rejoin: Option<u32>) -> String {
    let back = rejoin.map_or_else(String::new, |round| {
        format!(", and is back in round {round}")
    });
    let plural = if steps == 1 { "" } else { "s" };
    format!("dropped out after {steps} step{plural}{back}")
}

fn named(fault: FaultName) -> String {
    format!("a {} fault", fault.as_str().replace('_', " "))
}

fn commanded(run: &impl RunFacts, event: &Event) -> Option<(Level, Option<u32>, String)> {
    let Event::Intervention(Intervention { command, .. }) = event else {
        return None;
    };
    let (client, text) = match command {
        ControlCommand::DropClient { client } => (client, "is no longer selected".to_owned()),
        ControlCommand::RestoreClient { client } => (client, "is selected again".to_owned()),
        ControlCommand::SlowClient { client, factor } => {
            (client, format!("takes {factor} times as long from now on"))
        }
        ControlCommand::FinishRound => {
            return Some((Level::Warning, None, "stop requested".to_owned()));
        }
        _ => return None,
    };
    let text = format!("{} {text}, on request", run.name(*client));
    Some((Level::Warning, Some(client.0), text))
}
