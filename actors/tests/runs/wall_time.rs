//! What looks at the wall's clock: the watchdog, and runs by that clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::common::{Record, Toy, Trouble, plan, play, run};
use regatta_actors::Run;
use regatta_actors::control;
use regatta_actors::ids::{ClientId, LaneId};
use regatta_actors::plan::ClockMode;
use regatta_actors::plan::fault::Fault;
use regatta_actors::plan::policy::{Late, RoundPolicy};
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::RunError;
use regatta_actors::protocol::round_record::Outcome;

#[test]
fn a_lane_that_makes_no_progress_is_reported_and_the_run_goes_on() {
    let mut plan = plan(2, 2, 1);
    plan.watchdog_seconds = Some(0.02);
    let toy = Toy {
        trouble: Trouble::Hangs(1, 2),
        ..Toy::default()
    };
    let released = toy.released.clone();
    let (sender, stalls) = std::sync::mpsc::channel();
    let release = move |event: &Event| {
        if let Event::LaneStalled { lane, client, .. } = event {
            // It hangs until the watchdog has seen it.
            released.store(1, Ordering::SeqCst);
            let _ = sender.send((*lane, *client));
        }
    };
    let line = control().1;
    let result = Run::new(plan, Arc::new(toy))
        .observed_by(vec![Box::new(release)])
        .controlled_by(line)
        .start();
    assert_eq!(result.map(|outcome| outcome.rounds), Ok(2));
    assert!(stalls.iter().any(|stall| stall == (LaneId(0), ClientId(1))));
}

#[test]
fn by_the_wall_s_clock_a_job_takes_as_long_as_it_takes() {
    let mut plan = plan(3, 3, 2);
    // In virtual time this would take months.
    plan.clients.iter_mut().for_each(|c| c.profile.speed = 1e-6);
    plan.clock = ClockMode::Wall { scale: 10.0 };
    plan.faults = vec![Fault::drop(0.5).on([1]).in_rounds(2, 2)];
    let events = play(plan);
    let times = events.times();
    assert!(times.windows(2).all(|t| t[0] < t[1]), "{times:?}");
    assert!(times[2] < 3600.0, "{times:?}");
    let dropped = (1, Outcome::Dropped);
    assert_eq!(events.outcomes(2)[1], dropped);
}

#[test]
fn by_the_wall_s_clock_a_deadline_cuts_off_who_never_ends() {
    let mut plan = plan(2, 2, 2);
    plan.clock = ClockMode::Wall { scale: 100.0 };
    plan.policy = RoundPolicy::Deadline {
        seconds: 2.0,
        late: Late::Cancel,
    };
    let toy = Toy {
        trouble: Trouble::Endless,
        jitter: 100,
        ..Toy::default()
    };
    let (result, events) = run(plan, toy);
    // Both rounds are over, without anything to aggregate.
    let nothing = RunError::NothingAggregated {
        rounds: 2,
        refused: 0,
        last_refusal: None,
    };
    assert_eq!(result, Err(nothing));
    for round in 1..=2 {
        let late = [(0, Outcome::Late), (1, Outcome::Late)];
        assert_eq!(events.outcomes(round), late);
    }
    assert!(events.times()[1] >= 4.0);
}

#[test]
fn a_run_by_the_wall_s_clock_says_that_it_does_not_replay() {
    let record = Record::new();
    let mut plan = plan(2, 2, 1);
    plan.clock = ClockMode::Wall { scale: 1000.0 };
    let result = record.record(plan.clone(), Toy::default());
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(record.replay(plan), Err(RunError::DoesNotReplay));
}
