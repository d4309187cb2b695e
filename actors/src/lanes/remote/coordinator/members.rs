//! Hosts: who joins, who is there and what it does, who is missing.

use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::Coordinator;
use crate::ids::{JobId, LaneId};
use crate::lanes::broker::{Broker, Question};
use crate::lanes::remote::admission;
use crate::lanes::remote::hosts::Host;
use crate::lanes::wire::{
    Answer, CoordinatorNote, HostId, HostNote, HostQuestion, Introduction, Running, decode, encode,
};
use crate::observe::control::{DrainOrder, Unconfirmed};
use crate::observe::hosts::{HostStatus, LaneStatus};
use crate::protocol::client_state::ClientState;
use crate::protocol::event::Event;
use crate::protocol::input::Input;
use crate::protocol::job::JobPhase;
use crate::workload::Workload;
use crate::workload::job::Progress;

impl<W: Workload, B: Broker> Coordinator<W, B> {
    pub(super) async fn take_note(&mut self, bytes: &Bytes) -> Result<(), String> {
        let note = match decode(bytes) {
            Ok(note) => note,
            Err(reason) => {
                tracing::debug!("a note of a host cannot be read: {reason}");
                return Ok(());
            }
        };
        match note {
            HostNote::Alive {
                host,
                running,
                received,
                sent,
            } => {
                self.run.hosts.update(&host.0, |status| {
                    (status.bytes_received, status.bytes_sent) = (received, sent);
                });
                self.host_is_alive(host, running).await;
            }
            HostNote::Progress {
                host,
                lane,
                job,
                progress,
            } => self.show_progress(&host, lane, job, progress),
            HostNote::Repeated {
                host,
                job,
                digest,
                blobs,
            } => {
                let is_read = self.compare(&host, job, digest.as_ref());
                // Where the first reply is yet to be read, these are its blobs too.
                if let Some(name) = blobs.filter(|_| is_read) {
                    self.forget_parcel(&name).await;
                }
            }
            HostNote::GivenBack {
                host,
                lane,
                order,
                reason,
            } => {
                let reason = format!("host {host}, lane {}: {reason}", lane.0);
                for job in self.dispatch.jobs_of(order) {
                    self.redone(job, Some(&host), reason.clone());
                }
            }
            HostNote::Leaving { host, reason } => {
                if self.hosts.remove(&host).is_some() {
                    self.host_left(&host, false, reason);
                }
            }
        }
        Ok(())
    }

    async fn host_is_alive(&mut self, host: HostId, running: Vec<Running>) {
        let now = Instant::now();
        let Some(before) = self.hosts.heard(&host, running.clone(), now) else {
            self.dispatch.host_lives(&host);
            let told = self.tell(&CoordinatorNote::Unknown(host)).await;
            self.notice(told);
            return;
        };
        self.run.hosts.update(&host.0, |status| {
            status.heard = Some(now);
            let lanes: Vec<_> = status.lanes.iter().map(|status| status.lane).collect();
            for lane in lanes {
                let work = running.iter().find(|running| running.lane == lane);
                status.show(lane, work.map(|running| (running.order, running.phase)));
            }
        });
        let is_new = |running: &&Running| !before.iter().any(|old| old.continues(running));
        for new in running.iter().filter(is_new) {
            for job in new.jobs() {
                self.begun(job, &host, new.lane);
            }
        }
    }

    /// A host was first seen to do a job.
    fn begun(&mut self, job: JobId, host: &HostId, lane: LaneId) {
        let (is_wanted, before) = self.dispatch.begun(job, host);
        if let Some(before) = before {
            let reason = format!("host {before} lost its lease");
            self.tell_redone(job, Some(&before), reason);
        }
        // Its reply may have been faster.
        if is_wanted {
            self.show_training(job, lane);
        }
    }

    fn show_training(&self, job: JobId, lane: LaneId) {
        let lane = Some(lane);
        self.run.board.update(job.client, |status| {
            status.state = ClientState::Training;
            status.lane = lane;
        });
        self.run.bus.emit(Event::ClientState {
            round: job.round,
            client: job.client,
            state: ClientState::Training,
            lane,
        });
    }

    fn show_progress(&mut self, host: &HostId, lane: LaneId, job: JobId, progress: Progress) {
        let Some(known) = self.hosts.get(host) else {
            return;
        };
        let on_lane = known.running.iter().find(|running| running.lane == lane);
        let Some(running) = on_lane.filter(|running| running.jobs().any(|of_it| of_it == job))
        else {
            return;
        };
        let work = Some((running.order, JobPhase::Training));
        let hosts = &self.run.hosts;
        hosts.update(&host.0, |status| status.show(lane, work));
        self.run.board.update(job.client, |status| {
            status.progress = Some(progress);
            status.loss = progress.loss.or(status.loss);
        });
        self.run.bus.offer(Event::Progress {
            round: job.round,
            client: job.client,
            lane,
            progress,
        });
    }

    pub(super) async fn answer(
        &mut self,
        Question { content, answer }: Question,
    ) -> Result<(), String> {
        let response = match decode(&content) {
            Ok(HostQuestion::Invite { wire, build }) => {
                match admission::check_program(&self.settings, wire, &build) {
                    Ok(()) => Answer::Invited(self.settings.invitation.clone()),
                    Err(reason) => Answer::Refused(reason),
                }
            }
            Ok(HostQuestion::Join(host)) => self.join(host),
            Ok(HostQuestion::Missing(name)) => self.store_again(&name).await,
            Err(reason) => Answer::Refused(format!("its question cannot be read: {reason}")),
        };
        // A host that no longer waits asks again.
        let _ = answer.send(encode(&response));
        Ok(())
    }

    fn join(&mut self, host: Introduction) -> Answer {
        let fits = match admission::check_host(&self.settings, &host) {
            Ok(fits) => fits,
            Err(reason) => {
                self.run.bus.emit(Event::HostRefused {
                    host: host.name,
                    reason: reason.clone(),
                });
                return Answer::Refused(reason);
            }
        };
        let count = fits.iter().filter(|fits| **fits).count();
        if count < fits.len() {
            let refused = fits.len() - count;
            tracing::warn!(
                "{refused} of the lanes of host {} are refused: their last bits differ from those \
                 of {}",
                host.name,
                self.settings.description
            );
        }
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let id = HostId::new(&host.name, host.worker, since);
        if self.distrusted.contains(id.worker()) {
            return Answer::Refused("it gave for a job what two others did not".into());
        }
        let now = Instant::now();
        let given = self.hosts.admit(id.clone(), host.name.clone(), count, now);
        let mut given = given.into_iter();
        let lanes: Vec<Option<LaneId>> = (fits.into_iter())
            .map(|fits| if fits { given.next() } else { None })
            .collect();
        let admitted = lanes.iter().zip(host.lanes);
        let status = HostStatus {
            lanes: admitted
                .filter_map(|(lane, offer)| {
                    Some(LaneStatus {
                        lane: (*lane)?,
                        device: offer.device,
                        work: None,
                    })
                })
                .collect(),
            heard: Some(now),
            ..HostStatus::new(host.name, host.description.clone())
        };
        self.run.hosts.add(id.0.clone(), status);
        self.run.bus.emit(Event::HostJoined {
            host: id.0.clone(),
            lanes: lanes.iter().flatten().copied().collect(),
            description: host.description,
        });
        for lane in lanes.iter().flatten() {
            if self.reported_lanes < self.run.plan.lanes {
                self.reported_lanes += 1;
                (self.run.report)(Input::LaneReady(*lane));
            }
        }
        self.lanes_changed();
        Answer::Admitted { host: id, lanes }
    }

    /// Has a host take no more jobs.
    pub(super) async fn drain(&mut self, order: DrainOrder) {
        let DrainOrder { host, confirm } = order;
        let id = HostId(host);
        let told = match self.dismiss(&id).await {
            true => Ok(()),
            false => Err(Unconfirmed::Refused(format!("host {id} has left already"))),
        };
        // Whoever wanted it may have stopped waiting.
        let _ = confirm.try_send(told);
    }

    /// Has a host finish its jobs and leave. Says whether it was there.
    pub(super) async fn dismiss(&mut self, host: &HostId) -> bool {
        let is_there = self.hosts.drain(host);
        if is_there {
            let hosts = &self.run.hosts;
            hosts.update(&host.0, |status| status.draining = true);
            self.tell_draining().await;
        }
        is_there
    }

    /// Tells hosts to take no more jobs, again and again until they leave: a note may get lost.
    pub(super) async fn tell_draining(&mut self) {
        let draining: Vec<_> = self.hosts.draining().cloned().collect();
        for host in draining {
            let told = self.tell(&CoordinatorNote::Drain(host)).await;
            self.notice(told);
        }
    }

    /// Takes silent hosts out.
    pub(super) async fn miss_hosts(&mut self) -> Result<(), String> {
        let silence = self.settings.timing.silence;
        for (id, host) in self.hosts.take_silent(Instant::now(), silence) {
            let Host { name, running, .. } = host;
            let reason = format!("silent for {} s", silence.as_secs_f64());
            self.host_left(&id, true, reason);
            let jobs: Vec<_> = running.iter().flat_map(Running::jobs).collect();
            for job in &jobs {
                self.redone(*job, Some(&id), format!("host {name} was lost"));
            }
            if let Some(job) = self.dispatch.host_died(&id, &jobs) {
                // Or the next host would take it, though the run has ended.
                let orders = running.iter();
                let killer = orders.filter(|running| running.jobs().any(|of_it| of_it == job));
                for Running { order, .. } in killer {
                    let withdrawn = self.broker.withdraw(*order).await;
                    let told = self.tell(&CoordinatorNote::Cancel(job)).await;
                    self.notice(withdrawn.and(told));
                }
                let clients = self.clients_of(job);
                let kill = match self.dispatch.others(job) {
                    0 => "seems to kill its hosts",
                    _ => "seem to kill their hosts",
                };
                return Err(format!(
                    "{clients} in round {} {kill}: three were lost while they trained it, lastly \
                     {name}; nothing of it is in the ledger, and the run can be resumed",
                    job.round
                ));
            }
        }
        Ok(())
    }

    fn host_left(&mut self, host: &HostId, lost: bool, reason: String) {
        self.lanes_changed();
        self.run.hosts.remove(&host.0);
        self.run.bus.emit(Event::HostLeft {
            host: host.0.clone(),
            lost,
            reason,
        });
    }

    /// A job is to be done once more, which this host had.
    pub(super) fn redone(&mut self, job: JobId, host: Option<&HostId>, reason: String) {
        if self.dispatch.gave_up(job, host) {
            self.tell_redone(job, host, reason);
        }
    }

    fn tell_redone(&self, job: JobId, host: Option<&HostId>, reason: String) {
        if let Some(host) = host {
            let hosts = &self.run.hosts;
            hosts.update(&host.0, |status| status.jobs_redone += 1);
        }
        self.run.bus.emit(Event::JobRedone {
            round: job.round,
            client: job.client,
            host: host.map(|host| host.0.clone()),
            reason,
        });
    }
}
