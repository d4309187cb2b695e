//! Progress bars: one per client, or one for all where they are many.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressStyle};
use regatta_actors::ids::ClientId;
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::event::ClientInfo;
use regatta_actors::workload::job::Progress;

use crate::live::terminal::output::BARS;

/// Most clients that get a bar each.
const MOST_BARS: usize = 16;

/// The bars of a run.
#[derive(Debug)]
pub struct Bars {
    clients: BTreeMap<ClientId, ProgressBar>,
    all: Option<ProgressBar>,
    /// Of the test split, once there is something to show.
    predictions: Option<ProgressBar>,
}

impl Bars {
    /// Bars for these clients.
    pub fn new(clients: &[ClientInfo]) -> Self {
        if clients.len() > MOST_BARS {
            let all = bar("{prefix} {bar:30} {pos}/{len} clients {msg}");
            return Self {
                clients: BTreeMap::new(),
                all: Some(all),
                predictions: None,
            };
        }
        let width = clients
            .iter()
            .map(|client| client.name.len())
            .max()
            .unwrap_or(0);
        let named = |client: &ClientInfo| {
            let bar = bar("{prefix} {bar:30} {msg}");
            bar.set_prefix(format!("{:width$}", client.name));
            (client.client, bar)
        };
        Self {
            clients: clients.iter().map(named).collect(),
            all: None,
            predictions: None,
        }
    }

    /// Starts a new round with this many clients.
    pub fn start_round(&self, round: u32, selected: usize) {
        for bar in self.clients.values() {
            bar.reset();
            bar.set_message("");
        }
        if let Some(bar) = &self.all {
            bar.reset();
            bar.set_length(selected as u64);
            bar.set_prefix(format!("round {round}"));
        }
    }

    /// Shows how far a client is.
    pub fn progress(&self, client: ClientId, progress: &Progress) {
        if let Some(bar) = self.clients.get(&client) {
            bar.set_length(progress.steps_total);
            bar.set_position(progress.steps_done);
            let (done, total) = (progress.steps_done, progress.steps_total);
            let loss = progress.loss.map(|loss| format!("  loss {loss:.4}"));
            bar.set_message(format!("{done:>5}/{total:<5}{}", loss.unwrap_or_default()));
        }
    }

    /// Shows what a client does when it does not train.
    pub fn state(&self, client: ClientId, state: ClientState) {
        if let Some(bar) = self.clients.get(&client)
            && !matches!(state, ClientState::Training | ClientState::Idle)
        {
            bar.set_message(state.as_str());
        }
        if let Some(bar) = &self.all
            && state == ClientState::Sent
        {
            bar.inc(1);
        }
    }

    /// Shows how many test examples are predicted, in the clients' place.
    pub fn predicting(&mut self, done: u64, total: u64) {
        if self.predictions.is_none() {
            self.clear();
            let bar = bar("{prefix} {bar:30} {pos}/{len} examples");
            bar.set_prefix("predicting");
            self.predictions = Some(bar);
        }
        if let Some(bar) = &self.predictions {
            bar.set_length(total);
            // Batches end on many threads, whose reports may come in another order.
            bar.set_position(done.max(bar.position()));
        }
    }

    /// Takes the bars off the screen.
    pub fn clear(&self) {
        let bars = self.clients.values().chain(&self.all);
        for bar in bars.chain(&self.predictions) {
            bar.finish_and_clear();
        }
    }
}

fn bar(template: &str) -> ProgressBar {
    // How long it gets is known when its client has begun; a bar of length 0 would look full.
    let bar = BARS.add(ProgressBar::new(1));
    // The templates are constants; the default style is still a bar.
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
