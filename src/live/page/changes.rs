//! The state of a run, as it is sent to a page.
//!
//! What there is much of travels as an array instead of an object: `[client, x, loss]`. A number
//! that is none is `null`; what is not there is left out, where it could be taken for one.

use std::collections::BTreeMap;

use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::outcome::EndReason;
use regatta_actors::protocol::round_record::{Outcome, PhaseSeconds};
use regatta_actors::workload::update::Scores;
use serde::Serialize;

use crate::live::page::hosts::HostRow;
use crate::runs::history::participation::ParticipationEnd;
use crate::runs::history::totals::RunTotals;

/// The changes since the last message.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Changes {
    /// The run as a whole, if it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PageStatus>,
    /// Clients that changed, by number.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<u32, ClientStatus>,
    /// Hosts that changed, by number; `None`: they left too long ago to be kept.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<u32, Option<HostRow>>,
    /// More of clients' loss curves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
    /// Finished rounds. One that is known already is replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<RoundRow>,
    /// Finished bars of the timeline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<BarSpan>,
    /// Events in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LogLine>,
    /// Rounds that texts were written after, which a page may ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<u32>,
}

impl Changes {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let nothing = self.status.is_none() && self.clients.is_empty() && self.hosts.is_empty();
        nothing && self.weight() == 0
    }

    /// How much has gathered of what can gather without end.
    #[must_use]
    pub fn weight(&self) -> usize {
        let kept = self.points.len() + self.rounds.len() + self.spans.len();
        kept + self.lines.len() + self.texts.len()
    }
}

/// The phase of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PageStatus {
    /// Its current phase.
    pub phase: Phase,
    /// The current round, from 1; 0 before the first.
    pub round: u32,
    /// The latest virtual time that is known, in seconds since the run's start.
    pub virtual_seconds: f64,
    /// The totals of the rounds so far.
    pub totals: RunTotals,
    /// Test examples that are predicted, and all of them, while they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<(u64, u64)>,
    /// The reason for the end, if it ended without an error.
    pub ending: Option<EndReason>,
    /// The error that ended it, if any.
    pub error: Option<String>,
    /// The end, in seconds since 1970.
    pub ended: Option<f64>,
    /// Since when the broker between the run and its hosts does not answer, in seconds since 1970.
    pub broker_away: Option<f64>,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Starts lanes and actors.
    #[default]
    Starting,
    /// Clients train.
    Training,
    /// The server aggregates updates.
    Aggregating,
    /// The server scores the new state.
    Evaluating,
    /// Between two rounds.
    Between,
    /// Waits for a resume command.
    Paused,
    /// The server predicts the test split.
    Predicting,
    /// It is over.
    Over,
}

/// The status of a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClientStatus {
    /// Its current state.
    pub state: ClientState,
    /// The last round that it was selected in; 0 before its first.
    pub round: u32,
    /// Its last training loss: of the running job, or of the last finished one. Left out before its
    /// first; `null` if it is not a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f32>,
    /// The share of its job that is done, from 0 to 1.
    pub progress: f32,
    /// The selection for its current work, in virtual seconds.
    pub selected_at: Option<f64>,
    /// Since when it is away, in virtual seconds.
    pub away_since: Option<f64>,
    /// Whether a fault makes it slow in the work that it is at.
    pub slow: bool,
    /// Whether it is excluded by a control command.
    pub excluded: bool,
    /// How many times slower somebody outside made it.
    pub slowdown: f64,
    /// Its rounds whose update was aggregated.
    pub aggregated: u32,
    /// Its rounds that ended otherwise.
    pub missed: u32,
    /// Times it was started again after a failure.
    pub restarts: u32,
    /// Bytes that it sent.
    pub bytes_up: u64,
    /// Bytes that it was sent.
    pub bytes_down: u64,
}

impl Default for ClientStatus {
    fn default() -> Self {
        Self {
            state: ClientState::Idle,
            round: 0,
            loss: None,
            progress: 0.0,
            selected_at: None,
            away_since: None,
            slow: false,
            excluded: false,
            slowdown: 1.0,
            aggregated: 0,
            missed: 0,
            restarts: 0,
            bytes_up: 0,
            bytes_down: 0,
        }
    }
}

/// A point of a client's loss curve: `[client, x, loss]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(into = "(u32, f32, f32)")]
pub struct Point {
    /// The client concerned.
    pub client: u32,
    /// Where in the run: 2.5 is the middle of the third round.
    pub x: f32,
    /// Mean training loss over the round's examples so far.
    pub loss: f32,
}

impl From<Point> for (u32, f32, f32) {
    fn from(point: Point) -> Self {
        (point.client, point.x, point.loss)
    }
}

/// A finished round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoundRow {
    /// From 1.
    pub round: u32,
    /// Mean of the clients' training losses, weighted by examples. Left out where no client
    /// trained; `null` if it is not a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_loss: Option<f64>,
    /// Least, first quartile, median, third quartile and most of the clients' training losses.
    pub losses: Option<[f32; 5]>,
    /// Scores on validation, in rounds that were evaluated.
    pub eval: Option<Scores>,
    /// The distance of the aggregate from the ideal.
    pub exactness_error: Option<f64>,
    /// Virtual time at its end, in seconds since the run's start.
    pub virtual_seconds: f64,
    /// Wall time by phase; zeros in rounds before the run was resumed.
    pub seconds: PhaseSeconds,
    /// Bytes from clients to the server, since the run's start.
    pub bytes_up: u64,
    /// Bytes from the server to clients, since the run's start.
    pub bytes_down: u64,
    /// The outcomes of its clients.
    pub outcomes: BTreeMap<Outcome, u32>,
}

/// A bar of the timeline, in virtual time: `[client, round, start, end, kind, slow]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "(u32, u32, f64, f64, &'static str, bool)")]
pub struct BarSpan {
    /// The client concerned.
    pub client: u32,
    /// The round that it worked for.
    pub round: u32,
    /// Its start.
    pub start: f64,
    /// Its end.
    pub end: f64,
    /// What it shows.
    pub kind: BarKind,
    /// Whether a fault made it longer.
    pub slow: bool,
}

impl From<BarSpan> for (u32, u32, f64, f64, &'static str, bool) {
    fn from(span: BarSpan) -> Self {
        let milli = |seconds: f64| (seconds * 1e3).round() / 1e3;
        let (start, end) = (milli(span.start), milli(span.end));
        let kind = span.kind.name();
        (span.client, span.round, start, end, kind, span.slow)
    }
}

/// What a bar of the timeline shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BarKind {
    /// A participation that ended so; of a late one, what precedes or follows its round's end.
    Participation(ParticipationEnd),
    /// The client was being restarted.
    Restarting,
    /// The client was away.
    Away,
}

impl BarKind {
    /// Its name, as the page has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Participation(end) => match end {
                ParticipationEnd::Arrived => "sent",
                ParticipationEnd::Refused => "refused",
                ParticipationEnd::Dropped { .. } => "dropped",
                ParticipationEnd::Failed { .. } => "failed",
                ParticipationEnd::Lost => "lost",
                ParticipationEnd::Late => "late",
                ParticipationEnd::Stale => "stale",
                ParticipationEnd::Open => "open",
            },
            Self::Restarting => "restarting",
            Self::Away => "away",
        }
    }
}

/// An event in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogLine {
    /// When, in seconds since 1970; `None` in what happened before the run was resumed.
    pub at: Option<f64>,
    /// When, in virtual seconds since the run's start.
    pub virtual_seconds: f64,
    /// In which round.
    pub round: u32,
    /// The client that it concerns, if it is one.
    pub client: Option<u32>,
    /// Its severity.
    pub level: Level,
    /// The event, in words.
    pub text: String,
}

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Something was lost.
    Bad,
}
