//! What a run's streams and subjects are called. All have the run's id in them, so that one broker
//! serves many runs.

use regatta_actors::ids::{ClientId, Digest, JobId, RunId};
use regatta_actors::lanes::broker::Audience;

/// The consumer of the queue of jobs, which all lanes take from.
pub(crate) const LANES: &str = "lanes";

/// Where hosts ask which runs there are. Hosts of any run may ask there, as if it were the run `0`.
pub(crate) const LOOKING_FOR_RUNS: &str = "rg.0.ask";

/// The names of one run.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    run: String,
}

impl Names {
    /// `None`: it cannot be a part of a subject.
    pub(crate) fn new(run: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let is_name = (1..=64).contains(&run.len()) && run.chars().all(fits);
        is_name.then(|| Self { run: run.into() })
    }

    fn stream(&self, what: &str) -> String {
        format!("RG_{}_{what}", self.run)
    }

    fn subject(&self, what: &str) -> String {
        format!("rg.{}.{what}", self.run)
    }

    /// The stream of jobs that wait or are being done.
    pub(crate) fn jobs(&self) -> String {
        self.stream("JOBS")
    }

    /// The stream of replies that the coordinator has not forgotten.
    pub(crate) fn done(&self) -> String {
        self.stream("DONE")
    }

    /// The stream of blobs.
    pub(crate) fn blobs(&self) -> String {
        self.stream("BLOBS")
    }

    /// The stream that has the name of the coordinator.
    pub(crate) fn claim(&self) -> String {
        self.stream("CLAIM")
    }

    /// The subjects of all jobs.
    pub(crate) fn all_jobs(&self) -> String {
        self.subject("job.*.*.*.*")
    }

    /// The subject of a job.
    pub(crate) fn job(&self, job: JobId) -> String {
        self.subject(&format!("job.{}", path(job)))
    }

    /// The job that a job's subject is of.
    pub(crate) fn job_of(&self, subject: &str) -> Option<JobId> {
        self.parse(subject, ".job.")
    }

    /// The job that a reply's subject is of.
    pub(crate) fn job_of_reply(&self, subject: &str) -> Option<JobId> {
        self.parse(subject, ".done.")
    }

    fn parse(&self, subject: &str, kind: &str) -> Option<JobId> {
        let rest = subject.strip_prefix("rg.")?.strip_prefix(&self.run)?;
        let mut parts = rest.strip_prefix(kind)?.split('.');
        let job = JobId {
            run: RunId(parts.next()?.parse().ok()?),
            round: parts.next()?.parse().ok()?,
            client: ClientId(parts.next()?.parse().ok()?),
            attempt: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(job)
    }

    /// The subjects of all replies.
    pub(crate) fn all_replies(&self) -> String {
        self.subject("done.*.*.*.*")
    }

    /// The subjects of the replies to a round's jobs.
    pub(crate) fn replies_of(&self, run: RunId, round: u32) -> String {
        self.subject(&format!("done.{}.{round}.*.*", run.0))
    }

    /// A subject among replies that is no job's.
    pub(crate) fn no_reply(&self) -> String {
        self.subject("done.no.job.at.all")
    }

    /// The subject of the reply to a job.
    pub(crate) fn reply(&self, job: JobId) -> String {
        self.subject(&format!("done.{}", path(job)))
    }

    /// The subjects of all blobs.
    pub(crate) fn all_blobs(&self) -> String {
        self.subject("blob.>")
    }

    /// The start of a blob's subjects.
    pub(crate) fn blob(&self, digest: &Digest) -> String {
        self.subject(&format!("blob.{}", digest.0))
    }

    /// The subject of the coordinator's claim.
    pub(crate) fn coordinator(&self) -> String {
        self.subject("coordinator")
    }

    /// The subject of notes to an audience.
    pub(crate) fn notes(&self, audience: Audience) -> String {
        match audience {
            Audience::Coordinator => self.subject("note.coordinator"),
            Audience::Hosts => self.subject("note.hosts"),
        }
    }

    /// The subject of questions to the coordinator.
    pub(crate) fn questions(&self) -> String {
        self.subject("ask")
    }
}

fn path(job: JobId) -> String {
    let JobId {
        run,
        round,
        client,
        attempt,
    } = job;
    format!("{}.{round}.{client}.{attempt}", run.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_subject_tells_the_job() {
        let names = Names::new("r-1").unwrap();
        let job = JobId {
            run: RunId(u64::MAX),
            round: 3,
            client: ClientId(40),
            attempt: 1,
        };
        assert_eq!(names.job_of(&names.job(job)), Some(job));
        for other in [
            "rg.r-1.job.1.2.3",
            "rg.r-1.job.1.2.3.4.5",
            "rg.r-2.job.1.2.3.4",
        ] {
            assert_eq!(names.job_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_run_id_that_would_change_a_subject_is_refused() {
        let long = "r".repeat(65);
        for id in ["", "a.b", "a b", "*", ">", "a/b", "ä", &long] {
            assert!(Names::new(id).is_none(), "{id}");
        }
    }
}
