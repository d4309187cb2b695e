//! Turns events into what a page is told.

use std::collections::BTreeMap;

use regatta_actors::ids::ClientId;
use regatta_actors::observe::hosts::HostBoard;
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::event::{ClientInfo, Event};
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};
use regatta_actors::workload::job::Progress;
use regatta_actors::workload::update::Scores;

use crate::base::time::unix_seconds;
use crate::live::page::changes::{
    BarSpan, Changes, ClientStatus, Level, LogLine, PageStatus, Phase, Point, RoundRow,
};
use crate::live::page::hosts::HostTracker;
use crate::live::page::lines::{self, RunFacts};
use crate::runs::history::clients::RunStats;
use crate::runs::history::participation::ParticipationEvent;
use crate::tasks::metrics::set::MetricSet;

/// Up to N clients are reported in detail: they have points within a round, at each sixteenth.
const FEW_CLIENTS: usize = 64;
const POINTS_IN_A_ROUND: f32 = 16.0;

/// Follows a run, and gathers what there is to tell until somebody takes it.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// The task's metrics.
    metrics: MetricSet,
    pub status: PageStatus,
    pub clients: Vec<ClientStatus>,
    /// What the events tell of the run and of its clients.
    stats: RunStats,
    /// In which round clients that said so are back.
    pub rejoin: BTreeMap<u32, u32>,
    /// The changes gathered so far.
    pub changes: Changes,
    /// Whether events happen now, and not in a ledger.
    pub live: bool,
    /// The hosts that train for the run.
    pub hosts: HostTracker,
    last: Option<RoundRow>,
}

impl Tracker {
    /// Follows a run of a task with these metrics.
    pub fn new(metrics: MetricSet) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Restarts with these clients.
    pub fn begin(&mut self, clients: &[ClientInfo]) {
        *self = Self {
            clients: vec![ClientStatus::default(); clients.len()],
            live: self.live,
            metrics: std::mem::take(&mut self.metrics),
            // Some may have joined already.
            hosts: std::mem::take(&mut self.hosts).untold(),
            status: PageStatus {
                broker_away: self.status.broker_away,
                ..PageStatus::default()
            },
            ..Self::default()
        };
        self.stats.introduce(clients);
    }

    /// Takes an event in.
    pub fn take(&mut self, event: &Event) {
        let happened = self.stats.take(event);
        self.hosts.take(event, unix_seconds());
        match event {
            Event::RoundStarted {
                round,
                virtual_seconds,
                ..
            } => {
                self.status.round = *round;
                self.pass(*virtual_seconds);
                self.back_in(*round);
                self.collect(*virtual_seconds, &happened);
            }
            Event::ClientsSelected {
                virtual_seconds, ..
            } => self.collect(*virtual_seconds, &happened),
            Event::Aggregated { .. } => self.enter(Phase::Evaluating),
            Event::Evaluated { round, scores, .. } => self.score_late(*round, scores),
            Event::RoundFinished(record) => self.finish_round(record),
            Event::Paused { .. } => self.enter(Phase::Paused),
            Event::Predicting { done, total } => self.predict(*done, *total),
            Event::BrokerAway { .. } => self.status.broker_away = Some(unix_seconds()),
            Event::BrokerReached => self.status.broker_away = None,
            Event::RunFinished {
                virtual_seconds, ..
            } => self.finish(*virtual_seconds),
            Event::ClientState { client, state, .. } => self.change_state(*client, *state),
            Event::Progress {
                round,
                client,
                progress,
                ..
            } => self.progress(*round, *client, progress),
            other => self.work(other, &happened),
        }
        if let Some(line) = lines::line(self, event) {
            self.changes.lines.push(line);
        }
        if !matches!(event, Event::Progress { .. } | Event::ClientState { .. }) {
            self.changes.status = Some(self.status.clone());
        }
    }

    /// Gathers what is new of the hosts.
    pub fn look_at_hosts(&mut self, board: &HostBoard) {
        self.changes.hosts.extend(self.hosts.changes(board));
    }

    /// Clients are selected to train.
    fn collect(&mut self, virtual_seconds: f64, happened: &[ParticipationEvent]) {
        self.enter(Phase::Training);
        self.pass(virtual_seconds);
        happened.iter().for_each(|event| self.participate(event));
    }

    /// What happens while clients train, or in between.
    fn work(&mut self, event: &Event, happened: &[ParticipationEvent]) {
        happened.iter().for_each(|event| self.participate(event));
        if let Event::Intervention(intervention) = event {
            self.intervene(intervention);
        }
        let is_training = self.status.phase == Phase::Training && self.status.round > 0;
        if is_training && !self.stats.in_progress.any_on_time() {
            self.enter(Phase::Aggregating);
        }
    }

    fn change_state(&mut self, client: ClientId, state: ClientState) {
        let is_on_time = self.stats.in_progress.is_on_time(client);
        self.change(client, |status| {
            status.state = state;
            // Whose late work is given up.
            if state == ClientState::Idle && !is_on_time {
                status.selected_at = None;
            }
        });
    }

    fn predict(&mut self, done: u64, total: u64) {
        self.enter(Phase::Predicting);
        // Batches end on many threads, whose reports may come in another order.
        let before = self.status.predicted.map_or(0, |(before, _)| before);
        self.status.predicted = Some((done.max(before), total));
    }

    fn finish(&mut self, virtual_seconds: f64) {
        self.pass(virtual_seconds);
        self.enter(Phase::Over);
        self.status.predicted = None;
        self.status.ending = self.stats.ending;
        self.status.error.clone_from(&self.stats.error);
        self.status.ended = self.live.then(unix_seconds);
    }

    /// Takes in a round of which only its record is known.
    pub fn recall(&mut self, record: RoundRecord) {
        self.status.round = record.round;
        for client in &record.clients {
            let loss = client.loss.map(|loss| loss as f32);
            self.change(client.client, |status| {
                status.round = record.round;
                status.loss = loss.or(status.loss);
            });
            if let Some(loss) = loss {
                self.point(client.client, record.round as f32, loss);
            }
        }
        self.take(&Event::RoundFinished(record));
    }

    /// Events happen from now on. In a run that is resumed, no client is at work.
    pub fn go_live(&mut self) {
        self.live = true;
        self.enter(Phase::Between);
        self.changes.status = Some(self.status.clone());
        for number in 0..self.clients.len() as u32 {
            self.change(ClientId(number), |status| status.selected_at = None);
        }
    }

    /// Virtual time advances, and never goes back.
    pub fn pass(&mut self, virtual_seconds: f64) {
        self.status.virtual_seconds = self.status.virtual_seconds.max(virtual_seconds);
    }

    pub fn enter(&mut self, phase: Phase) {
        self.status.phase = phase;
    }

    /// Changes a client's status; `None` if there is no such client.
    pub fn change<T>(
        &mut self,
        client: ClientId,
        change: impl FnOnce(&mut ClientStatus) -> T,
    ) -> Option<T> {
        let status = self.clients.get_mut(client.0 as usize)?;
        let result = change(status);
        self.changes.clients.insert(client.0, status.clone());
        Some(result)
    }

    fn progress(&mut self, round: u32, client: ClientId, progress: &Progress) {
        let done = progress.steps_done as f32 / progress.steps_total.max(1) as f32;
        let loss = progress.loss.map(|loss| loss as f32);
        let passed = self.change(client, |status| {
            let sixteenth = |share: f32| (share * POINTS_IN_A_ROUND).floor();
            let passed = sixteenth(done) > sixteenth(status.progress);
            status.progress = done;
            status.loss = loss.or(status.loss);
            passed
        });
        // The last point is the update's.
        if let (true, Some(true), Some(loss)) = (self.is_small() && done < 1.0, passed, loss) {
            self.point(client, round as f32 - 1.0 + done, loss);
        }
    }

    pub fn point(&mut self, client: ClientId, x: f32, loss: f32) {
        let client = client.0;
        self.changes.points.push(Point { client, x, loss });
    }

    pub fn span(&mut self, span: BarSpan) {
        self.changes.spans.push(span);
    }

    fn finish_round(&mut self, record: &RoundRecord) {
        self.pass(record.virtual_seconds);
        self.enter(Phase::Between);
        self.status.totals.add(record, &self.metrics);
        for client in &record.clients {
            self.show_totals(client.client);
            if client.outcome == Outcome::Refused {
                self.mark_refused(client.client, record);
            }
        }
        let row = self.row(record);
        self.last = Some(row.clone());
        self.changes.rounds.push(row);
        let refusals = lines::refusals(self, record);
        self.changes.lines.extend(refusals);
    }

    /// Shows a client's totals as they are now.
    pub fn show_totals(&mut self, client: ClientId) {
        let Some(stats) = self.stats.clients.get(&client) else {
            return;
        };
        let (aggregated, missed) = (stats.ended(Outcome::Aggregated), stats.missed());
        let (restarts, bytes_up, bytes_down) = (stats.restarts, stats.bytes_up, stats.bytes_down);
        self.change(client, |status| {
            (status.aggregated, status.missed) = (aggregated, missed);
            status.restarts = restarts;
            (status.bytes_up, status.bytes_down) = (bytes_up, bytes_down);
        });
    }

    /// A run that is asked to stop scores its last round after it is finished.
    fn score_late(&mut self, round: u32, scores: &Scores) {
        if let Some(row) = &mut self.last
            && row.round == round
        {
            row.eval = Some(scores.clone());
            self.changes.rounds.push(row.clone());
        }
    }

    fn row(&self, record: &RoundRecord) -> RoundRow {
        let mut outcomes = BTreeMap::new();
        for client in &record.clients {
            *outcomes.entry(client.outcome).or_default() += 1;
        }
        let losses = record.clients.iter().filter_map(|client| client.loss);
        RoundRow {
            round: record.round,
            train_loss: record.train_loss,
            losses: five_numbers(losses.collect()),
            eval: record.eval.clone(),
            exactness_error: record.exactness_error,
            virtual_seconds: record.virtual_seconds,
            seconds: record.seconds,
            bytes_up: self.status.totals.bytes_up,
            bytes_down: self.status.totals.bytes_down,
            outcomes,
        }
    }
}

/// Least, quartiles and most; `None` of nothing. What is not a number is left out.
fn five_numbers(mut values: Vec<f64>) -> Option<[f32; 5]> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some([0, 1, 2, 3, 4].map(|quarter| {
        let place = last as f64 * f64::from(quarter) / 4.0;
        let (below, above) = (
            values[place.floor() as usize],
            values[place.ceil() as usize],
        );
        (below + (above - below) * place.fract()) as f32
    }))
}

impl RunFacts for Tracker {
    fn name(&self, client: ClientId) -> &str {
        let stats = self.stats.clients.get(&client);
        stats.map_or("?", |stats| &stats.name)
    }

    fn is_small(&self) -> bool {
        self.clients.len() <= FEW_CLIENTS
    }

    fn blank_line(&self) -> LogLine {
        LogLine {
            at: self.live.then(unix_seconds),
            virtual_seconds: self.status.virtual_seconds,
            round: self.status.round,
            client: None,
            level: Level::Good,
            text: String::new(),
        }
    }
}
