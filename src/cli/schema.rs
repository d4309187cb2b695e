//! `regatta schema`: the JSON Schema of scenario files.

use crate::config::schema;
use crate::live::terminal::output::say;

/// Prints the schema.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn schema() -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(&schema::schema())?);
    Ok(())
}
