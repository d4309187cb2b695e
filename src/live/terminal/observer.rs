//! Shows a run's events on the terminal.

use regatta_actors::observe::Observer;
use regatta_actors::protocol::event::Event;

use crate::base::table::count;
use crate::live::terminal::bars::Bars;
use crate::live::terminal::history::RoundHistory;
use crate::live::terminal::line::line;
use crate::live::terminal::output::print_line;
use crate::tasks::metrics::set::MetricSet;

/// Bars while clients train, a line per round, a table at the end.
#[derive(Debug)]
pub struct TerminalObserver {
    metrics: MetricSet,
    bars: Option<Bars>,
    history: RoundHistory,
    rounds: u32,
}

impl Observer for TerminalObserver {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::RunStarted {
                rounds,
                lanes,
                clients,
                ..
            }
            | Event::RunResumed {
                rounds,
                lanes,
                clients,
                ..
            } => {
                self.rounds = *rounds;
                self.bars = Some(Bars::new(clients));
                let (clients, lanes) = (count(clients.len(), "client"), count(*lanes, "lane"));
                print_line(format_args!("{clients} on {lanes}"));
                if let Event::RunResumed { after_round, .. } = event {
                    print_line(format_args!("resuming after round {after_round}"));
                }
            }
            Event::HostJoined {
                host,
                lanes,
                description,
            } => {
                let lanes = count(lanes.len(), "lane");
                print_line(format_args!("{host} joins with {lanes}: {description}"));
            }
            // One that is lost is warned of.
            Event::HostLeft {
                host,
                lost: false,
                reason,
            } => print_line(format_args!("{host} leaves: {reason}")),
            Event::Paused { round } => print_line(format_args!("paused after round {round}")),
            Event::RoundFinished(record) => {
                self.history.add(record);
                print_line(line(record, self.rounds, &self.metrics));
            }
            Event::RunFinished { .. } => {
                if let Some(bars) = self.bars.take() {
                    bars.clear();
                }
                if let Some(table) = self.history.table() {
                    print_line(table);
                }
            }
            other => self.move_bars(other),
        }
    }
}

impl TerminalObserver {
    /// An observer of a run whose task has these metrics.
    #[must_use]
    pub fn new(metrics: MetricSet) -> Self {
        Self {
            history: RoundHistory::new(metrics.clone()),
            metrics,
            bars: None,
            rounds: 0,
        }
    }

    fn move_bars(&mut self, event: &Event) {
        let Some(bars) = &mut self.bars else { return };
        match event {
            Event::RoundStarted { round, clients, .. } => bars.start_round(*round, clients.len()),
            Event::Progress {
                client, progress, ..
            } => bars.progress(*client, progress),
            Event::ClientState { client, state, .. } => bars.state(*client, *state),
            Event::Predicting { done, total } => bars.predicting(*done, *total),
            _ => {}
        }
    }
}
