//! `regatta schema`: the JSON Schema of scenario files.

use crate::config::schema;
use crate::live::terminal::output::print_line;

/// Prints the schema.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn schema() -> anyhow::Result<()> {
    print_line(serde_json::to_string_pretty(&schema::schema())?);
    Ok(())
}
