//! From the broadcast to the last update: virtual time meets what the machine has done.

use super::{Command, Due, Phase, Scheduler};
use crate::event::Event;
use crate::learner::LaneId;
use crate::message::{Receipt, ServerCommand, Stamp};
use crate::run::RunError;

impl Scheduler {
    /// Asks the clients, and puts on the clock when each will be done.
    pub(super) fn broadcast(&mut self, bytes_down: impl Fn(Option<u32>) -> u64) {
        self.phase = Phase::Collecting;
        self.round.began = self.wall;
        let (number, now) = (self.round.number, self.clock.now());
        self.emit(Event::RoundStarted {
            round: number,
            clients: self.select().collect(),
            virtual_seconds: now.seconds(),
        });
        for client in self.select() {
            let stamp = Stamp {
                run: self.run,
                round: number,
                client,
                attempt: 0,
            };
            let bytes = bytes_down(self.holds[client.0 as usize].replace(number));
            let plan = &self.plan.clients[client.0 as usize];
            let seconds = plan.profile.download_seconds(bytes) + plan.train_seconds();
            self.clock.schedule(now.after(seconds), Due::Trained(stamp));
            self.round.ask(stamp, bytes);
            self.commands.push(Command::Train(stamp));
        }
        self.advance();
    }

    pub(super) fn receive(&mut self, stamp: Stamp, receipt: Receipt) {
        if self.round.awaits(stamp) {
            self.round.receive(stamp, receipt);
            self.advance();
        } else {
            self.stale(stamp);
            self.ask_server(ServerCommand::Discard { stamp });
        }
    }

    fn stale(&mut self, stamp: Stamp) {
        self.emit(Event::StaleReply {
            round: stamp.round,
            client: stamp.client,
        });
    }

    pub(super) fn job_failed(&mut self, stamp: Stamp, lane: Option<LaneId>, reason: String) {
        if !self.round.awaits(stamp) {
            return self.stale(stamp);
        }
        let name = self.plan.clients[stamp.client.0 as usize].name.clone();
        self.fail(RunError::Job {
            client: stamp.client,
            name,
            round: stamp.round,
            lane,
            reason,
        });
    }

    /// Lets virtual time go on for as long as all that is needed to decide is known.
    fn advance(&mut self) {
        while self.phase == Phase::Collecting {
            match self.clock.peek() {
                Some(Due::Trained(stamp)) if self.round.awaits(*stamp) => return,
                None => return self.close(),
                Some(_) => {}
            }
            match self.clock.pop() {
                Some(Due::Trained(stamp)) => self.begin_upload(stamp),
                Some(Due::Arrived(stamp)) => self.arrive(stamp),
                None => {}
            }
        }
    }

    fn begin_upload(&mut self, stamp: Stamp) {
        let Some(receipt) = self.round.receipt(stamp.client) else {
            return;
        };
        let profile = &self.plan.clients[stamp.client.0 as usize].profile;
        let due = self.clock.now();
        let due = due.after(profile.upload_seconds(receipt.bytes_up));
        self.clock.schedule(due, Due::Arrived(stamp));
    }

    fn arrive(&mut self, stamp: Stamp) {
        let Some(receipt) = self.round.receipt(stamp.client).cloned() else {
            return;
        };
        self.emit(Event::UpdateReceived {
            round: stamp.round,
            client: stamp.client,
            loss: receipt.loss,
            examples: receipt.examples,
            steps: receipt.steps,
            bytes_up: receipt.bytes_up,
            digest: receipt.digest,
            seconds: receipt.seconds,
            virtual_seconds: self.clock.now().seconds(),
        });
        if self.round.arrive(stamp.client) {
            self.close();
        }
    }

    /// Ends the collection and has the server fold what arrived.
    fn close(&mut self) {
        self.phase = Phase::Aggregating;
        self.round.seconds.train = self.wall - self.round.began;
        self.round.began = self.wall;
        self.ask_server(ServerCommand::Aggregate {
            round: self.round.number,
            take: self.round.arrived(),
        });
    }
}
