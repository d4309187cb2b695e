//! What is known of a run, of a size that does not grow with it.

use std::collections::{BTreeMap, VecDeque};

use regatta_actors::protocol::event::ClientInfo;
use serde::Serialize;

use crate::live::page::changes::{BarSpan, Changes, ClientStatus, LogLine, PageStatus, RoundRow};
use crate::live::page::hosts::HostRow;
use crate::runs::folder::summary::RunInfo;
use crate::tasks::metrics::set::MetricSet;

/// Most rounds that are kept.
const MOST_ROUNDS: usize = 2000;
/// Most bars of the timeline.
const MOST_SPANS: usize = 20_000;
/// The maximum number of events in words.
const MOST_LINES: usize = 400;
/// Most rounds whose texts a page may ask for.
const MOST_TEXTS: usize = 500;
/// Most points of loss curves, shared by all clients; each may have a few in any case.
const MOST_POINTS: usize = 60_000;

/// The facts of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PageHeader {
    /// The run.
    #[serde(flatten)]
    pub identity: RunInfo,
    /// Rounds planned.
    pub rounds: u32,
    /// Each lane's device; none if the lanes are those of other hosts.
    pub lanes: Vec<String>,
    /// When this process started, in seconds since 1970.
    pub started: f64,
    /// Whether a page steers the run.
    pub steering: Steering,
    /// The task's metrics, in the order in which they are shown.
    pub metrics: MetricSet,
}

/// Whether a page steers the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Steering {
    /// It only shows.
    #[default]
    Off,
    /// Whoever has the page steers.
    Open,
    /// Whoever has the token steers.
    Token,
}

/// One client.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PageClient {
    /// Its name.
    pub name: String,
    /// Examples in its shard.
    pub examples: u64,
    /// Its status.
    pub status: ClientStatus,
    /// Its loss curve: `[x, loss]`, with x as in [`crate::live::page::changes::Point`].
    pub points: Vec<(f32, f32)>,
}

/// Everything a page shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct History {
    /// When this was sent, by the run's clock, in seconds since 1970; a page's own clock may differ.
    pub now: f64,
    /// The facts of the run.
    pub facts: PageHeader,
    /// Most points of one client's curve; the page keeps to it as well.
    pub most_points: usize,
    /// The phase of the run.
    pub status: PageStatus,
    /// The clients, in order.
    pub clients: Vec<PageClient>,
    /// Other hosts that train for the run or did, by number.
    pub hosts: BTreeMap<u32, HostRow>,
    /// Finished rounds: all, or of many every second, every fourth, … and the last.
    pub rounds: Vec<RoundRow>,
    /// The latest bars of the timeline.
    pub spans: VecDeque<BarSpan>,
    /// The latest events.
    pub lines: VecDeque<LogLine>,
    /// Rounds that texts were written after: the first, which is before training, and the latest.
    pub texts: Vec<u32>,
    /// One round in N is kept.
    #[serde(skip)]
    stride: u32,
}

impl History {
    /// The history of a run that has not started. It starts now.
    #[must_use]
    pub fn new(facts: PageHeader) -> Self {
        Self {
            facts,
            stride: 1,
            ..Self::default()
        }
    }

    /// Starts, or restarts, with these clients.
    pub fn begin(&mut self, clients: &[ClientInfo]) {
        *self = Self::new(std::mem::take(&mut self.facts));
        self.most_points = (MOST_POINTS / clients.len().max(1)).clamp(48, 2000);
        let introduce = |client: &ClientInfo| PageClient {
            name: client.name.clone(),
            examples: client.examples,
            ..PageClient::default()
        };
        self.clients = clients.iter().map(introduce).collect();
    }

    /// Takes in what happened.
    pub fn absorb(&mut self, changes: &Changes) {
        if let Some(status) = &changes.status {
            self.status = status.clone();
        }
        for (number, status) in &changes.clients {
            if let Some(client) = self.clients.get_mut(*number as usize) {
                client.status = status.clone();
            }
        }
        for (number, row) in &changes.hosts {
            match row {
                Some(row) => self.hosts.insert(*number, row.clone()),
                None => self.hosts.remove(number),
            };
        }
        for point in &changes.points {
            if let Some(client) = self.clients.get_mut(point.client as usize) {
                client.points.push((point.x, point.loss));
                thin(&mut client.points, self.most_points);
            }
        }
        for row in &changes.rounds {
            self.add_round(row);
        }
        self.spans.extend(changes.spans.iter().cloned());
        self.lines.extend(changes.lines.iter().cloned());
        self.texts.extend(&changes.texts);
        let surplus = |kept: usize, most: usize| kept.saturating_sub(most);
        self.spans.drain(..surplus(self.spans.len(), MOST_SPANS));
        self.lines.drain(..surplus(self.lines.len(), MOST_LINES));
        let texts = surplus(self.texts.len(), MOST_TEXTS);
        if texts > 0 {
            self.texts.drain(1..=texts);
        }
    }

    /// The last round always stays until the next comes, and then only if it is one in `stride`.
    fn add_round(&mut self, row: &RoundRow) {
        if let Some(last) = self.rounds.last()
            && (last.round == row.round || !last.round.is_multiple_of(self.stride))
        {
            self.rounds.pop();
        }
        self.rounds.push(row.clone());
        if self.rounds.len() > MOST_ROUNDS {
            self.stride *= 2;
            let (stride, last) = (self.stride, row.round);
            self.rounds
                .retain(|row| row.round == last || row.round.is_multiple_of(stride));
        }
    }
}

/// Leaves out every second point where there are too many; the last one stays.
fn thin(points: &mut Vec<(f32, f32)>, most: usize) {
    if points.len() > most {
        let last = points.len() - 1;
        let mut position: usize = 0;
        points.retain(|_| {
            position += 1;
            (last + 1 - position).is_multiple_of(2)
        });
    }
}
