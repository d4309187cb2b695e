//! A run's events as log lines, for who looks afterwards at what happened.

use regatta_actors::event::{Event, Observer};
use regatta_actors::record::{Outcome, RoundRecord};

/// Logs every event: what an operator wants to know as *info*, what may spoil results as
/// *warning*, each client's doings as *debug*, each batch as *trace*.
#[derive(Debug, Default)]
pub struct EventLog;

impl Observer for EventLog {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { run, rounds, .. } => {
                tracing::info!("{run} begins: {rounds} rounds");
            }
            Event::RunResumed {
                run, after_round, ..
            } => tracing::info!("{run} goes on after round {after_round}"),
            Event::RoundFinished(record) => tracing::info!("{}", finished(record)),
            Event::RoundRetried { round, updates, .. } => {
                tracing::info!("round {round} has only {updates} updates and asks again");
            }
            Event::RoundSkipped { round, updates, .. } => {
                tracing::warn!("round {round} is skipped: it has only {updates} updates");
            }
            Event::ClientFailed {
                round,
                client,
                reason,
                back_at,
                ..
            } => match back_at {
                Some(at) => tracing::info!(
                    "client {client} failed in round {round}, is back at {at:.1} virtual s: {reason}"
                ),
                None => tracing::warn!(
                    "client {client} failed in round {round} once too often and is retired: {reason}"
                ),
            },
            Event::Intervention(intervention) => {
                let (round, command) = (intervention.after_round, intervention.command);
                tracing::info!("told after round {round}: {command:?}");
            }
            Event::Paused { round } => tracing::info!("paused after round {round}"),
            Event::ServerCrashed { round, .. } => {
                tracing::info!("the server dies in round {round}")
            }
            Event::RunFinished {
                rounds,
                error: Some(error),
                ..
            } => tracing::info!("ended after {rounds} rounds: {error}"),
            Event::RunFinished { rounds, ending, .. } => {
                tracing::info!("ended after {rounds} rounds: {ending:?}");
            }
            Event::Progress { .. } | Event::ClientState { .. } => tracing::trace!("{event:?}"),
            other => tracing::debug!("{other:?}"),
        }
    }
}

fn finished(record: &RoundRecord) -> String {
    let clients = &record.clients;
    let folded = clients.iter().filter(|c| c.outcome == Outcome::Folded);
    let scores = record.eval.iter().flatten();
    let scores = scores.map(|(name, score)| format!(", {name} {score:.4}"));
    let loss = record.train_loss;
    let loss = loss.map_or_else(String::new, |loss| format!(", train loss {loss:.4}"));
    format!(
        "round {} ended at {:.1} virtual s, {} of {} clients folded{loss}{}",
        record.round,
        record.virtual_seconds,
        folded.count(),
        clients.len(),
        scores.collect::<String>()
    )
}
