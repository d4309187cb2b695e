//! Finding a server, and asking it how old it is.

use std::env;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::error::SupervisorError;
use crate::version::is_new_enough;

const NAME: &str = "nats-server";
/// Where set-up puts it, below the folder in which it is run.
const FETCHED: &str = "third_party/nats-server/nats-server";

/// The server to start: the given one, or else the one that set-up fetched, or else an installed one.
pub(super) async fn find(given: Option<&Path>) -> Result<PathBuf, SupervisorError> {
    let candidates = match given {
        Some(path) => vec![path.to_owned()],
        None => places(),
    };
    let Some(program) = candidates.iter().find(|path| path.is_file()) else {
        let places: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
        let searched = places.join(", ");
        return Err(SupervisorError::NotFound { searched });
    };
    check(program).await?;
    Ok(program.clone())
}

fn places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(FETCHED)];
    // An installed program lies elsewhere than the folder that set-up was run in.
    if let Ok(own) = env::current_exe()
        && let Some(folder) = own.parent()
    {
        places.push(folder.join(NAME));
        places.push(folder.join("../lib/regatta").join(NAME));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    places.extend(env::split_paths(&path).map(|folder| folder.join(NAME)));
    places
}

/// Asks a server for its version: `nats-server: v2.15.1`.
async fn check(program: &Path) -> Result<(), SupervisorError> {
    let unfit = |reason: String| SupervisorError::Unfit {
        program: program.to_owned(),
        reason,
    };
    let asked = Command::new(program).arg("--version").output().await;
    let asked = asked.map_err(|error| unfit(format!("it cannot be run ({error})")))?;
    let answer = String::from_utf8_lossy(&asked.stdout);
    let version = answer.trim().rsplit(' ').next().unwrap_or_default();
    if is_new_enough(version) {
        return Ok(());
    }
    Err(unfit(match version {
        "" => "it does not tell its version".into(),
        version => format!("it is of version {version}"),
    }))
}
