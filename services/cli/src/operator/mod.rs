//! The commands of operators: the log, the projection, the dead letters and the images of a host, without a gateway.

pub(crate) mod dead;
pub(crate) mod events;
pub(crate) mod image;
pub(crate) mod projection;

use broker::Broker;
use clap::Args;

use crate::data_dir::DataDirOption;
use crate::role::{BrokerOptions, User};

/// How an operator reaches the broker.
#[derive(Args, Clone, Debug)]
pub(crate) struct OperatorOptions {
    #[command(flatten)]
    broker: BrokerOptions,
}

impl OperatorOptions {
    async fn connect(&self, data: &DataDirOption) -> anyhow::Result<Broker> {
        self.broker.connect(&User::service("operator"), &data.resolve()?).await
    }
}
