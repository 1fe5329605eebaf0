//! The loop: events, machines at the door, and machines that want to enroll.
//!
//! Owns the order: what the log says is taken in before anybody is let in. A question that is not answered is asked again, so
//! dying at any place costs a moment and nothing else.

use std::time::Duration;

use anyhow::Context as _;
use broker::door::{Claim, Door, Knock};
use broker::{Batch, Broker, DecideError, Follower, Newcomer, Newcomers, Start, is_user_key};
use chrono::{SubsecRound as _, Utc};
use events::blob::Sha256;
use events::enrollment::{self, Answer, Command, Enrolled, Enrollment, Request};
use events::envelope::{Actor, Origin};
use events::id::{CommandId, RunnerId};
use events::rejection::{Code, Rejection};
use events::{Aggregate, Event, subject};
use sha2::Digest as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fold::Fold;

/// How many machines are enrolled at once. Whoever waits longer asks again: everybody may ask.
const AT_ONCE: usize = 16;

/// After how long a runner's connections are looked for once more: one may have been under way.
const ONCE_MORE: Duration = Duration::from_secs(1);

/// How long the broker may take to tell of a subscription: meanwhile nobody else is let in.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Service {
    broker: Broker,
    door: Door,
    fold: Fold,
    follower: Follower,
    newcomers: Newcomers,
    /// Whose connections are to end, and when to look.
    cuts: Vec<(Instant, RunnerId)>,
    enrolling: JoinSet<()>,
}

impl Service {
    /// Reads what the log says so far.
    pub(crate) async fn start(broker: Broker, door: Door) -> anyhow::Result<Self> {
        let follower = broker.follow_events(&[subject::ALL_ENROLLMENTS.to_owned()], Start::After(0));
        let newcomers = broker.newcomers().await.context("machines cannot be heard")?;
        let mut service = Self {
            broker,
            door,
            fold: Fold::default(),
            follower,
            newcomers,
            cuts: Vec::new(),
            enrolling: JoinSet::new(),
        };
        loop {
            let batch = service.follower.next().await?;
            let all = batch.pending == 0;
            service.take_in(&batch);
            if all {
                break;
            }
        }
        // Whoever was revoked while nobody stood at the door may be connected still.
        let revoked: Vec<RunnerId> = service.fold.revoked().cloned().collect();
        service.cuts = revoked.into_iter().map(|runner| (Instant::now(), runner)).collect();
        Ok(service)
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let next_cut = self.cuts.iter().map(|(when, _)| *when).min();
            let due = async {
                match next_cut {
                    Some(when) => tokio::time::sleep_until(when).await,
                    None => std::future::pending().await,
                }
            };
            let room = self.enrolling.len() < AT_ONCE;
            tokio::select! {
                // Events first: nobody is let in who was revoked by then.
                biased;
                () = stop.cancelled() => return Ok(()),
                batch = self.follower.next() => self.take_in(&batch?),
                () = due => self.cut().await,
                knock = self.door.next() => self.open(&knock?).await?,
                newcomer = self.newcomers.next(), if room => self.enroll(newcomer?),
                Some(_) = self.enrolling.join_next() => {}
            }
        }
    }

    fn take_in(&mut self, batch: &Batch) {
        for message in &batch.messages {
            match message.event() {
                Ok(recorded) => {
                    if let Some(runner) = self.fold.apply(&recorded) {
                        let now = Instant::now();
                        self.cuts.push((now, runner.clone()));
                        self.cuts.push((now + ONCE_MORE, runner));
                    }
                }
                // Whatever it says, it lets nobody in.
                Err(error) => {
                    tracing::error!(subject = message.subject, %error, "an enrollment cannot be read")
                }
            }
        }
    }

    /// Ends the connections that are due to end.
    async fn cut(&mut self) {
        let now = Instant::now();
        for (when, runner) in std::mem::take(&mut self.cuts) {
            if when > now {
                self.cuts.push((when, runner));
                continue;
            }
            match self.door.cut(&runner).await {
                Ok(0) => {}
                Ok(connections) => {
                    tracing::info!(runner.id = %runner, connections, "a runner's connections were cut")
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::warn!(runner.id = %runner, error = format!("{error:#}"), "a runner cannot be cut off yet");
                    self.cuts.push((now + ONCE_MORE, runner));
                }
            }
        }
    }

    async fn open(&self, knock: &Knock) -> anyhow::Result<()> {
        match &knock.claim {
            Claim::Key(public_key) => match self.fold.runner_of(public_key) {
                Some(runner) => self.door.admit(knock, runner).await?,
                None => self.door.refuse(knock, "its key speaks for no runner").await?,
            },
            Claim::Subscriber(name, password) => {
                let known =
                    tokio::time::timeout(PATIENCE, self.broker.knows_subscriber(name, password)).await;
                match known {
                    Ok(Ok(true)) => self.door.admit_subscriber(knock, name).await?,
                    Ok(Ok(false)) => {
                        self.door.refuse(knock, "no subscription has this name and password").await?
                    }
                    // It tries again.
                    Ok(Err(_)) | Err(_) => {
                        self.door.refuse(knock, "the subscription cannot be looked up").await?
                    }
                }
            }
        }
        Ok(())
    }

    fn enroll(&mut self, newcomer: Newcomer) {
        let broker = self.broker.clone();
        self.enrolling.spawn(async move {
            let answer = match &newcomer.request {
                Ok(request) => redeem(&broker, request).await,
                Err(_) => Ok(malformed("the request cannot be read")),
            };
            let sent = match answer {
                Ok(answer) => broker.answer_newcomer(&newcomer, &answer).await.map_err(anyhow::Error::from),
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                tracing::error!(error = format!("{error:#}"), "a machine got no answer; it asks again");
            }
        });
    }
}

/// Lets a key speak for the runner that its token names.
async fn redeem(broker: &Broker, request: &Request) -> anyhow::Result<Answer> {
    let runner = request.token.split_once('.').and_then(|(runner, _)| runner.parse::<RunnerId>().ok());
    let Some(runner) = runner else { return Ok(malformed("the token is none: it was cut or changed")) };
    if !is_user_key(&request.public_key) {
        return Ok(malformed("the key is none"));
    }
    let token_sha256 = Sha256::from_bytes(&sha2::Sha256::digest(&request.token).into());
    let command = CommandId::derived(&["enroll", token_sha256.as_str(), &request.public_key]);
    let origin = Origin {
        command,
        actor: Actor::service("registrar"),
        correlation: runner.to_string(),
        causation: None,
        trace_parent: None,
    };
    let enrolled = Enrolled { token_sha256, public_key: request.public_key.clone() };
    let now = Utc::now().trunc_subsecs(6);
    let aggregate = Aggregate::Enrollment(runner.clone());
    let decided = broker.decide(&aggregate, &origin, now, |history| {
        let state = history.iter().fold(Enrollment::default(), |state, recorded| match &recorded.event {
            Event::Enrollment(event) => enrollment::evolve(state, event),
            _ => state,
        });
        let event = enrollment::decide(&state, Command::Enroll(enrolled.clone()), now)?;
        Ok(event.map(Event::Enrollment))
    });
    match decided.await {
        Ok(_) => {
            tracing::info!(runner.id = %runner, "a machine was enrolled");
            Ok(Answer::Enrolled)
        }
        Err(DecideError::Rejected(rejection)) => {
            tracing::warn!(runner.id = %runner, code = %rejection.code, "a machine was not enrolled");
            Ok(Answer::Rejected(rejection))
        }
        Err(error) => Err(error.into()),
    }
}

fn malformed(message: &str) -> Answer {
    let hint = "Give the token as `patchwave runner token create NAME` printed it.";
    Answer::Rejected(Rejection::new(Code::TokenUnknown, message, hint))
}
