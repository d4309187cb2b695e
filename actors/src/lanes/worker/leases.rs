//! What a lane does with the lease of its job.

use std::future::Future;
use std::time::Duration;

use tokio::time;

use crate::ids::JobId;
use crate::lanes::broker::{BrokerError, Lease};
use crate::lanes::wire::HostId;

/// Does what belongs to a job, which stays this lane's meanwhile: nobody else is to do it.
pub(super) async fn keeping<T>(
    lease: &impl Lease,
    beat: Duration,
    work: impl Future<Output = T>,
) -> T {
    let renewing = async {
        loop {
            time::sleep(beat).await;
            if let Err(error) = lease.renew().await {
                tracing::debug!("a lease is not renewed: {error}");
            }
        }
    };
    tokio::select! {
        done = work => done,
        never = renewing => never,
    }
}

/// How long a job that this host is to avoid is kept from all hosts, this one among them: about
/// `retry`, and another time whenever it is given out. With equal pauses, two hosts of which each
/// avoids what the other may do could be given the wrong one of two jobs for ever.
pub(super) fn pause_for_others(retry: Duration, host: &HostId, job: JobId, times: u64) -> Duration {
    let mut hasher = blake3::Hasher::new();
    hasher.update(host.0.as_bytes());
    for number in [job.round, job.client.0, job.attempt] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&times.to_le_bytes());
    let drawn = hasher.finalize().as_bytes()[0];
    retry.mul_f64(0.5 + f64::from(drawn) / 256.0)
}

/// The job is done. Waits for the broker to know it, but not long: one that forgot the lease when it
/// was killed says nothing, and then the job is done once more for nothing.
pub(super) async fn done(lease: &impl Lease, wait: Duration) {
    end_lease(wait, lease.done()).await;
}

/// The job is somebody else's to do.
pub(super) async fn give_back(lease: &impl Lease, wait: Duration) {
    end_lease(wait, lease.give_back(Duration::ZERO)).await;
}

/// The job is for later: after `wait`, which is also how long this waits. A queue gives out first what
/// was given back, so that a job that nobody can do would keep all others from the lanes.
pub(super) async fn postpone(lease: &impl Lease, wait: Duration) {
    end_lease(wait, lease.give_back(wait)).await;
}

/// Ends a lease, which otherwise ends by itself.
pub(super) async fn end_lease(
    wait: Duration,
    ending: impl Future<Output = Result<(), BrokerError>>,
) {
    match time::timeout(wait, ending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a lease ends by itself: {error}"),
        Err(_) => tracing::debug!("a lease ends by itself, if the broker has not heard"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClientId, RunId};

    #[test]
    fn a_job_to_avoid_is_kept_from_the_host_for_another_time_each_time() {
        let retry = Duration::from_millis(500);
        let job = JobId {
            run: RunId(1),
            round: 2,
            client: ClientId(3),
            attempt: 0,
        };
        let pauses = |host: &str| -> Vec<Duration> {
            let host = HostId(host.into());
            let pause = |times| pause_for_others(retry, &host, job, times);
            (1..=8).map(pause).collect()
        };
        let (one, other) = (pauses("one"), pauses("other"));
        for pause in one.iter().chain(&other) {
            assert!(*pause >= retry / 2 && *pause < retry * 3 / 2, "{pause:?}");
        }
        assert!(one.windows(2).all(|pair| pair[0] != pair[1]), "{one:?}");
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    }
}
