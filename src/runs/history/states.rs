//! What each client was doing when, from its participations: the timeline's rows.

use regatta_actors::plan::availability::Interval;
use regatta_actors::plan::fault::FaultName;

use crate::config::plan::Plan;
use crate::runs::history::collected::Participations;
use crate::runs::history::participation::{Participation, ParticipationEnd};

/// What a client was doing. Later ones are drawn over earlier ones where there is room for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not there, as its availability or a fault has it.
    Away,
    /// At work that came to something.
    Training,
    /// At work that came to something, slowed by a fault.
    Straggling,
    /// Still at it after its round was closed.
    Late,
    /// At work that was given up when its round was closed: it was too slow, or not needed.
    GivenUp,
    /// At work that was lost.
    Lost,
    /// Waiting to be started again.
    Restarting,
    /// Out for good.
    Retired,
}

impl State {
    /// All, in the order of legends.
    pub const ALL: [Self; 8] = [
        Self::Training,
        Self::Straggling,
        Self::Late,
        Self::GivenUp,
        Self::Lost,
        Self::Restarting,
        Self::Away,
        Self::Retired,
    ];

    /// Its name in legends.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Training => "trains",
            Self::Straggling => "straggles",
            Self::Late => "late",
            Self::GivenUp => "given up",
            Self::Lost => "work lost",
            Self::Restarting => "restarts",
            Self::Retired => "retired",
        }
    }
}

/// A stretch of virtual time in one state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimelineSpan {
    /// Its beginning, in virtual seconds.
    pub from: f64,
    /// Its end, in virtual seconds.
    pub to: f64,
    /// The state.
    pub state: State,
}

/// A moment at which something ended a participation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// The time, in virtual seconds.
    pub at: f64,
    /// The event.
    pub what: MarkKind,
}

/// The cause of the end of a participation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// The client dropped out.
    Dropped,
    /// It crashed.
    Crashed,
    /// Its update was lost on the way, came too late to be aggregated, or was refused.
    UpdateLost,
}

/// One client's row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TimelineRow {
    /// Its name.
    pub name: String,
    /// Its states, in order of their beginning; while it is idle there is none.
    pub spans: Vec<TimelineSpan>,
    /// The causes of the ends of its participations.
    pub marks: Vec<Mark>,
}

impl TimelineRow {
    /// Virtual seconds in states of lost work.
    #[must_use]
    pub fn lost_seconds(&self) -> f64 {
        let lost = |span: &&TimelineSpan| matches!(span.state, State::Lost | State::Restarting);
        self.spans.iter().filter(lost).map(|s| s.to - s.from).sum()
    }
}

/// The number of times that all clients of a fleet may come and go and still be shown doing so.
/// More than a figure can show by far, it bounds what a report takes where a ledger's times are
/// absurd.
const COMINGS: usize = 10_000_000;

/// Each client's row.
#[must_use]
pub fn rows(participations: &Participations, plan: &Plan) -> Vec<TimelineRow> {
    let named = participations.clients.iter().map(|client| TimelineRow {
        name: client.name.clone(),
        ..TimelineRow::default()
    });
    let mut rows: Vec<TimelineRow> = named.collect();
    let most = COMINGS / rows.len().max(1);
    for (row, profile) in rows.iter_mut().zip(&plan.simulation.profiles) {
        let there = profile
            .availability
            .intervals(plan.seed, &row.name, participations.end, most);
        let gaps = there.map(|there| gaps(&there, participations.end));
        row.spans.extend(gaps.unwrap_or_default());
    }
    for participation in &participations.all {
        if let Some(row) = rows.get_mut(participation.client.0 as usize) {
            add(row, participation, participations);
        }
    }
    for row in &mut rows {
        end_waiting(row);
        row.spans.retain(|span| span.to > span.from);
        row.spans.sort_by(|a, b| a.from.total_cmp(&b.from));
    }
    rows
}

/// When a client is away that is there in these intervals.
fn gaps(there: &[Interval], end: f64) -> Vec<TimelineSpan> {
    let away = |from, to| TimelineSpan {
        from,
        to,
        state: State::Away,
    };
    let mut gaps = Vec::new();
    let mut at = 0.0;
    for interval in there {
        gaps.push(away(at, interval.from));
        at = interval.to;
    }
    gaps.push(away(at, end));
    gaps
}

/// A client that is selected again waits no more, whatever was expected.
fn end_waiting(row: &mut TimelineRow) {
    let waits = |state| matches!(state, State::Restarting | State::Retired);
    let work = row
        .spans
        .iter()
        .filter(|span| !waits(span.state) && span.state != State::Away);
    let begun: Vec<f64> = work.map(|span| span.from).collect();
    for span in row.spans.iter_mut().filter(|span| waits(span.state)) {
        let next = begun.iter().copied().filter(|from| *from >= span.from);
        span.to = next.fold(span.to, f64::min);
    }
}

fn add(row: &mut TimelineRow, participation: &Participation, participations: &Participations) {
    let mut span = |from, to, state| row.spans.push(TimelineSpan { from, to, state });
    let state = match participation.affected_by(&FaultName::SLOWING) {
        _ if participation.end == ParticipationEnd::Late => State::GivenUp,
        _ if participation.is_lost() => State::Lost,
        Some(_) => State::Straggling,
        None => State::Training,
    };
    let on_time = participation
        .late_at
        .unwrap_or(participation.ended)
        .min(participation.ended);
    span(participation.selected.unwrap_or(on_time), on_time, state);
    let late = if participation.is_lost() {
        State::Lost
    } else {
        State::Late
    };
    span(on_time, participation.ended, late);
    let end = participations.end;
    match participation.end {
        ParticipationEnd::Dropped {
            rejoin: Some(rejoin),
        } => {
            let mut rounds = participations.rounds.iter();
            let back = rounds.find(|round| round.round >= rejoin);
            span(
                participation.ended,
                back.map_or(end, |round| round.from),
                State::Away,
            );
        }
        ParticipationEnd::Failed {
            back_at: Some(back_at),
        } => span(participation.ended, back_at.min(end), State::Restarting),
        ParticipationEnd::Failed { back_at: None } => {
            span(participation.ended, end, State::Retired)
        }
        _ => {}
    }
    let what = match participation.end {
        ParticipationEnd::Arrived | ParticipationEnd::Open | ParticipationEnd::Late => return,
        ParticipationEnd::Dropped { .. } => MarkKind::Dropped,
        ParticipationEnd::Failed { .. } => MarkKind::Crashed,
        ParticipationEnd::Refused | ParticipationEnd::Lost | ParticipationEnd::Stale => {
            MarkKind::UpdateLost
        }
    };
    row.marks.push(Mark {
        at: participation.ended,
        what,
    });
}
