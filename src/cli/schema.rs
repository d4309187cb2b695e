//! `regatta schema`: the JSON Schema of scenario files.

use crate::cli::terminal::say;
use crate::config::schema;

/// Prints the schema.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn schema() -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(&schema::schema())?);
    Ok(())
}
