//! Requests over the control line, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::live::control::Action;

/// One line to a run, or the body of one request of its page. Nothing may stand in it that means
/// nothing: who misspells a name, or tells a client to pause, hears of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Request {
    /// The secret, where the run wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The request.
    #[serde(flatten)]
    pub action: Action,
}

/// All that any request may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    token: Option<String>,
    command: String,
    client: Option<u32>,
    factor: Option<f64>,
    host: Option<String>,
}

impl TryFrom<Fields> for Request {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let Fields {
            token,
            command,
            client,
            factor,
            host,
        } = fields;
        let mut given = Map::from_iter([("command".to_owned(), Value::from(command.as_str()))]);
        given.extend(client.map(|client| ("client".to_owned(), client.into())));
        given.extend(factor.map(|factor| ("factor".to_owned(), factor.into())));
        let names_host = host.is_some();
        given.extend(host.map(|host| ("host".to_owned(), host.into())));
        let action: Action =
            serde_json::from_value(Value::Object(given)).map_err(|e| e.to_string())?;
        if client.is_some() && action.client().is_none() {
            return Err(format!("`{command}` does not concern a client"));
        }
        if factor.is_some() && !matches!(action, Action::Slow { .. }) {
            return Err(format!("`{command}` has no factor"));
        }
        if names_host && !matches!(action, Action::Drain { .. }) {
            return Err(format!("`{command}` does not concern a worker"));
        }
        Ok(Self { token, action })
    }
}
