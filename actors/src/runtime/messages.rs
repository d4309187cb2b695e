//! The messages that the actors send each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Message, Recipient};

use crate::ids::{ClientId, Digest, JobId, LaneId};
use crate::lanes::seat::GroupSeat;
use crate::lanes::watchdog::Watchdog;
use crate::observe::control::Order;
use crate::protocol::command::ServerCommand;
use crate::protocol::input::Input;
use crate::protocol::job::JobFaults;
use crate::workload::job::Trained;

/// The address of a client's actor.
#[derive(Clone)]
pub(crate) struct ClientRecipients<S: Send + Sync + 'static> {
    pub train: Recipient<TrainRound<S>>,
    pub cancel: Recipient<Cancel>,
}

/// Builds a client's actor, at the start and again after it died.
pub(crate) type ClientFactory<S> = Box<dyn Fn(ClientId) -> ClientRecipients<S> + Send>;

/// The other actors, sent to the scheduler once all are up; the run then starts.
pub(crate) struct Actors<S: Send + Sync + 'static> {
    pub server: Recipient<ServerCommand>,
    /// In client order.
    pub clients: Vec<ClientRecipients<S>>,
    pub factory: ClientFactory<S>,
    pub watchdog: Option<Watchdog>,
}

/// To the scheduler's actor: the state that a round starts from, with [`Input::Opened`].
#[derive(Debug)]
pub(crate) struct Opened<S> {
    pub round: u32,
    pub state: Arc<S>,
    pub bytes_down: BTreeMap<Option<u32>, u64>,
}

/// To a client: train this round.
#[derive(Debug)]
pub(crate) struct TrainRound<S> {
    pub id: JobId,
    pub faults: JobFaults,
    pub group: Option<GroupSeat>,
    pub state: Arc<S>,
}

/// To a client: abandon this job.
#[derive(Debug)]
pub(crate) struct Cancel(pub JobId);

/// To the server: an update.
#[derive(Debug)]
pub(crate) struct SubmitUpdate<U> {
    pub id: JobId,
    pub trained: Trained<U>,
    pub digest: Digest,
    pub lane: LaneId,
    pub seconds: f64,
}

impl Message for Cancel {
    type Result = ();
}

impl Message for Input {
    type Result = ();
}

impl Message for ServerCommand {
    type Result = ();
}

impl<S: Send> Message for Opened<S> {
    type Result = ();
}

impl<S: Send> Message for TrainRound<S> {
    type Result = ();
}

impl<U: Send> Message for SubmitUpdate<U> {
    type Result = ();
}

impl<S: Send + Sync + 'static> Message for Actors<S> {
    type Result = ();
}

impl Message for Order {
    type Result = ();
}
