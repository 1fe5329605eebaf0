//! `patchwave events subscribe`, `unsubscribe` and `subscriptions`: who follows events beside our own services.

use std::time::Duration;

use broker::{Credentials, Subscribe, SubscriptionError, SubscriptionName};
use clap::Args;
use events::filter::{self, Filter};
use serde::Serialize;

use super::Beginning;
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;
use crate::operator::OperatorOptions;
use crate::output::{self, Column};

/// Options of `patchwave events subscribe`.
#[derive(Args, Clone, Debug)]
pub(crate) struct New {
    /// What to call it: a-z, 0-9 and inner hyphens
    #[arg(value_name = "NAME")]
    name: SubscriptionName,

    /// Only these, and later no others: a subject (`ev.execution.*.completed`, `ev.plan.>`), or the id of a thing
    #[arg(value_name = "FILTER")]
    filters: Vec<Filter>,

    #[command(flatten)]
    beginning: Beginning,

    /// After how long an event that is not acknowledged comes again: 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::duration::parse)]
    ack_wait: Duration,

    /// How many events may be under way at once; with more than one, those that come again come out of order
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: u32,

    /// Print JSON: the file that the example subscribers take
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    operator: OperatorOptions,
}

/// Options of `patchwave events unsubscribe`.
#[derive(Args, Clone, Debug)]
pub(crate) struct End {
    /// Its name
    #[arg(value_name = "NAME")]
    name: SubscriptionName,

    #[command(flatten)]
    operator: OperatorOptions,
}

/// Options of `patchwave events subscriptions`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    /// Print JSON, one document a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    operator: OperatorOptions,
}

/// A new subscription as it is shown, this once.
#[derive(Serialize)]
struct Made {
    url: String,
    #[serde(flatten)]
    credentials: Credentials,
    filters: Vec<String>,
}

/// Makes a subscription.
pub(super) async fn subscribe(options: New, data: &DataDirOption) -> anyhow::Result<()> {
    let url = options.operator.broker.url(&data.resolve()?).await?;
    let broker = options.operator.connect(data).await?;
    let filters = filter::subjects(&options.filters);
    let subscribe = Subscribe {
        name: options.name,
        filters: filters.clone(),
        start: options.beginning.start(),
        ack_wait: options.ack_wait,
        in_flight: options.in_flight,
    };
    let credentials = broker.subscribe(&subscribe).await.map_err(explained)?;
    let made = Made { url, credentials, filters };
    if options.json {
        return output::json(&made);
    }
    let Made { url, credentials, filters } = made;
    let Credentials { user, password, inbox_prefix, api_prefix, stream, consumer } = credentials;
    output::line(&output::fields(&[
        ("url", url),
        ("user", user),
        ("password", password),
        ("inbox prefix", inbox_prefix),
        ("API prefix", api_prefix.to_owned()),
        ("stream", stream.to_owned()),
        ("consumer", consumer),
        ("events", filters.join(", ")),
    ]))?;
    eprintln!("keep the password: it is not shown again");
    Ok(())
}

/// Ends a subscription.
pub(super) async fn unsubscribe(options: End, data: &DataDirOption) -> anyhow::Result<()> {
    let broker = options.operator.connect(data).await?;
    broker.unsubscribe(&options.name).await.map_err(explained)?;
    output::line(&format!("{} is no subscription any more", options.name))
}

/// Lists subscriptions.
pub(super) async fn list(options: List, data: &DataDirOption) -> anyhow::Result<()> {
    let subscriptions = options.operator.connect(data).await?.subscriptions().await?;
    if options.json {
        return subscriptions.iter().try_for_each(output::json);
    }
    if subscriptions.is_empty() {
        eprintln!("there are no subscriptions");
        return Ok(());
    }
    let columns = [
        Column::Left("subscription"),
        Column::Left("events"),
        Column::Right("acknowledged"),
        Column::Right("under way"),
        Column::Right("to come"),
        Column::Left("listens"),
    ];
    let rows = subscriptions.into_iter().map(|one| {
        let listens = if one.waiting > 0 { "yes" } else { "no" };
        vec![
            one.name,
            one.filters.join(", "),
            one.acknowledged.to_string(),
            one.in_flight.to_string(),
            one.pending.to_string(),
            listens.to_owned(),
        ]
    });
    output::line(&output::table(&columns, rows))
}

fn explained(error: SubscriptionError) -> anyhow::Error {
    match &error {
        SubscriptionError::Exists(name) => {
            let hint = format!(
                "choose another name, or end that one first: `patchwave events unsubscribe {name}`; it then loses its place"
            );
            Complaint::new(error.to_string(), hint).into()
        }
        SubscriptionError::NotFound(_) => {
            Complaint::new(error.to_string(), "`patchwave events subscriptions` lists them").into()
        }
        SubscriptionError::Broker(_) => error.into(),
    }
}
