//! A run's events as log lines, for who looks afterwards at what happened.

use regatta_actors::observe::Observer;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::round_record::RoundRecord;
use regatta_actors::workload::update::Refusal;

use crate::base::table::count;

/// Logs every event: what an operator wants to know as *info*, what may distort results as
/// *warning*, each client's doings as *debug*, each batch as *trace*.
#[derive(Debug, Default)]
pub struct EventLog {
    /// Updates that the server refused in the current round, and why. A round that is skipped
    /// hands it none.
    refused: Vec<Refusal>,
}

impl Observer for EventLog {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Aggregated { aggregation, .. } => {
                self.refused.clone_from(&aggregation.refused);
                tracing::debug!("{event:?}");
            }
            Event::RunStarted { run, rounds, .. } => {
                tracing::info!("{run} begins: {rounds} rounds");
            }
            Event::RunResumed {
                run, after_round, ..
            } => tracing::info!("{run} resumes after round {after_round}"),
            Event::RoundFinished(record) => {
                tracing::info!("{}", finished(record));
                if let Some(refusals) = refusals(record, &std::mem::take(&mut self.refused)) {
                    tracing::warn!("{refusals}");
                }
            }
            Event::RoundRetried { round, updates, .. } => {
                tracing::info!(
                    "round {round} has only {updates} updates and selects clients again"
                );
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
                    "client {client} failed in round {round}, returns at {at:.1} virtual s: \
                     {reason}"
                ),
                None => tracing::warn!(
                    "client {client} failed in round {round}, exceeded its restarts and is \
                     retired: {reason}"
                ),
            },
            Event::HostJoined {
                host,
                lanes,
                description,
            } => {
                let lanes = count(lanes.len(), "lane");
                tracing::info!("host {host} joins with {lanes}: {description}");
            }
            Event::HostLeft {
                host,
                lost: false,
                reason,
            } => tracing::info!("host {host} leaves: {reason}"),
            Event::HostLeft { host, reason, .. } => {
                tracing::warn!("host {host} is lost: {reason}; its jobs are done elsewhere");
            }
            Event::HostRefused { host, reason } => {
                tracing::warn!("host {host} is refused: {reason}");
            }
            Event::JobVerified {
                round,
                client,
                hosts,
                wrong,
            } if !wrong.is_empty() => tracing::error!(
                "{} gave for client {client} in round {round} what {} did not: it computes wrongly \
                 and is to leave; what it gave before was not compared, and `regatta replay` tells \
                 whether it was right",
                wrong.join(", "),
                hosts.join(", ")
            ),
            Event::JobRedone {
                round,
                client,
                reason,
                ..
            } => tracing::warn!("client {client} in round {round} is done once more: {reason}"),
            Event::Intervention(intervention) => {
                let (round, command) = (intervention.after_round, intervention.command);
                tracing::info!("command after round {round}: {command:?}");
            }
            Event::Paused { round } => tracing::info!("paused after round {round}"),
            Event::ServerCrashed { round, .. } => {
                tracing::info!("the server crashes in round {round}")
            }
            Event::RunFinished {
                rounds,
                error: Some(error),
                ..
            } => tracing::info!("ended after {rounds} rounds: {error}"),
            Event::RunFinished { rounds, ending, .. } => {
                tracing::info!("ended after {rounds} rounds: {ending:?}");
            }
            Event::Progress { .. } | Event::ClientState { .. } | Event::Predicting { .. } => {
                tracing::trace!("{event:?}");
            }
            other => tracing::debug!("{other:?}"),
        }
    }
}

/// Refusals that are reported in full.
const MOST_REFUSALS: usize = 5;

/// The round's refused updates in a line, if there are any.
fn refusals(record: &RoundRecord, refused: &[Refusal]) -> Option<String> {
    let tell = |refusal: &Refusal| format!("{}: {}", record.name(refusal.client), refusal.reason);
    let told: Vec<String> = refused.iter().take(MOST_REFUSALS).map(tell).collect();
    let more = refused.len().saturating_sub(MOST_REFUSALS);
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    let what = match record.all_refused() {
        true => "every update was refused, and nothing was aggregated".to_owned(),
        false => format!("{} refused", count(refused.len(), "update")),
    };
    let (round, told) = (record.round, told.join("; "));
    (!refused.is_empty()).then(|| format!("round {round}: {what}: {told}{more}"))
}

fn finished(record: &RoundRecord) -> String {
    let clients = &record.clients;
    let scores = record.eval.iter().flatten();
    let scores = scores.map(|(name, score)| format!(", {name} {score:.4}"));
    let loss = record.train_loss;
    let loss = loss.map_or_else(String::new, |loss| format!(", train loss {loss:.4}"));
    format!(
        "round {} ended at {:.1} virtual s, {} of {} clients aggregated{loss}{}",
        record.round,
        record.virtual_seconds,
        record.aggregated(),
        clients.len(),
        scores.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use regatta_actors::ids::{ClientId, Digest};
    use regatta_actors::protocol::round_record::{ClientRecord, Outcome, PhaseSeconds};

    use super::*;

    fn record(outcomes: &[Outcome]) -> RoundRecord {
        let client = |(number, outcome): (u32, &Outcome)| ClientRecord {
            client: ClientId(number),
            name: format!("c{number}"),
            outcome: *outcome,
            loss: None,
            examples: 1,
            steps: 1,
            bytes_up: 1,
            bytes_down: 1,
            seconds: 1.0,
        };
        RoundRecord {
            round: 3,
            train_loss: None,
            eval: None,
            exactness_error: None,
            measures: [].into(),
            virtual_seconds: 1.0,
            seconds: PhaseSeconds::default(),
            state_digest: Digest(String::new()),
            refused: Vec::new(),
            clients: (0..).zip(outcomes).map(client).collect(),
        }
    }

    fn refuse(clients: u32) -> Vec<Refusal> {
        let refusal = |number| Refusal {
            client: ClientId(number),
            reason: "too large".into(),
        };
        (0..clients).map(refusal).collect()
    }

    #[test]
    fn refused_updates_are_named_with_the_reason_and_many_are_counted() {
        let some = record(&[Outcome::Refused, Outcome::Aggregated]);
        assert_eq!(refusals(&some, &[]), None);
        assert_eq!(
            refusals(&some, &refuse(1)).unwrap(),
            "round 3: 1 update refused: c0: too large"
        );
        let all = refusals(&record(&[Outcome::Refused; 7]), &refuse(7)).unwrap();
        assert!(
            all.starts_with("round 3: every update was refused, and nothing was aggregated: c0: "),
            "{all}"
        );
        assert!(all.ends_with("c4: too large; and 2 more"), "{all}");
    }
}
