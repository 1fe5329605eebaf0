//! Draining a runner: it finishes what it runs, takes nothing new, and leaves.

use events::id::RunnerId;
use events::runner::{self, Runner};
use events::{Aggregate, Event};

use super::{Commands, Done, now};
use crate::fault::Fault;

impl Commands {
    /// Asks a runner to drain. One that drains already is asked for nothing.
    pub(crate) async fn drain_runner(&self, id: &RunnerId, mutation_id: Option<&str>) -> Result<Done, Fault> {
        let request = self.request("drainRunner", mutation_id)?;
        let work = async {
            let origin = request.origin(id.to_string());
            let aggregate = Aggregate::Runner(id.clone());
            let decided = self.broker.decide(&aggregate, &origin, now(), |history| {
                let state = history.iter().fold(Runner::default(), |state, recorded| match &recorded.event {
                    Event::Runner(event) => runner::evolve(state, event),
                    _ => state,
                });
                Ok(runner::decide(&state, runner::Command::Drain)?.map(Event::Runner))
            });
            Ok(Done { id: id.to_string(), sequence: decided.await?.sequence })
        };
        self.bounded(&request, work).await
    }
}
