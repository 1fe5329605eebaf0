//! The commands of people: what they ask a gateway for.

pub(crate) mod action;
mod ask;
mod enrollment;
pub(crate) mod execution;
pub(crate) mod job;
pub(crate) mod login;
mod patch;
pub(crate) mod plan;
mod preview;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod secret;
pub(crate) mod token;
pub(crate) mod user;

use clap::Args;
use events::id::ActionId;

use crate::client::{Client, ServerOption};
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;

/// Options of everything that shows something.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShowOptions {
    #[command(flatten)]
    server: ServerOption,

    /// Print JSON, one document a line
    #[arg(long)]
    json: bool,
}

/// Options of everything that lists something.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    show: ShowOptions,

    /// The most entries to list, newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

impl ShowOptions {
    fn client(&self, data: &DataDirOption) -> anyhow::Result<Client> {
        Client::new(&self.server, data)
    }
}

/// What was asked for is not there.
fn not_found(what: &str, name: &str, list: &str) -> Complaint {
    let hint = format!("`patchwave {list}` shows the ones there are");
    Complaint {
        code: Some("not-found".to_owned()),
        ..Complaint::new(format!("there is no {what} `{name}`"), hint)
    }
}

/// An action's id, given as it is or by the action's name.
fn action_id(text: &str) -> ActionId {
    text.parse().unwrap_or_else(|_| ActionId::named(text))
}

/// An id of this invocation's own: sent again, it is the same wish.
fn fresh() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A token that an answer shows. A request that was repeated, because its first answer was lost, cannot show it.
fn shown_once<'a>(token: Option<&'a str>, what_to_do: &str) -> Result<&'a str, Complaint> {
    let lost = "the token was made, and the answer that showed it was lost";
    token.ok_or_else(|| Complaint::new(lost, what_to_do))
}

/// A state's name as people read it.
fn state(name: &str) -> String {
    name.to_lowercase().replace('_', " ")
}

/// A point in time to the second, as people read it.
fn moment(time: &str) -> String {
    let parsed = time.parse::<events::Timestamp>();
    parsed.map_or_else(|_| time.to_owned(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_named_or_given_by_its_id() {
        let id = ActionId::named("tidy");
        assert_eq!((action_id("tidy"), action_id(&id.to_string())), (id, id));
    }

    #[test]
    fn states_and_times_are_for_people() {
        assert_eq!(state("PARTIALLY_FAILED"), "partially failed");
        assert_eq!(moment("2026-01-02T03:04:05.678901Z"), "2026-01-02 03:04:05Z");
        assert_eq!(moment("soon"), "soon");
    }
}
