//! Whether whoever is connected still is who they were.
//!
//! Owns when that is looked at again. A request is looked at once, at its beginning; what stands for hours would outlive the
//! token that it began with.

use axum::http::{HeaderMap, header};
use events::rejection::Code;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::access::{Access, Caller};
use crate::fault::Fault;
use crate::pace::Pace;

/// Looks at a caller again and again.
pub(super) struct Recheck {
    access: Access,
    /// What the caller showed.
    shown: HeaderMap,
    caller: Caller,
    period: Interval,
}

impl Recheck {
    /// Begins with a caller who was known by these headers just now.
    pub(super) fn new(access: Access, shown: HeaderMap, caller: Caller, pace: &Pace) -> Self {
        Self { access, shown, caller, period: every(pace.recheck) }
    }

    /// Who it is.
    pub(super) fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// Waits until it is time to look. Safe to cancel.
    pub(super) async fn due(&mut self) {
        self.period.tick().await;
    }

    /// Looks.
    ///
    /// # Errors
    /// A rejection [`Code::Unauthenticated`] when the caller is not known any more, or may do something else than before: what
    /// was begun in that role ends with it.
    pub(super) async fn look(&self) -> Result<(), Fault> {
        match self.access.caller(&self.shown).await {
            Ok(caller) if caller == self.caller => Ok(()),
            Ok(_) => {
                let hint = "Connect again, with what the new role may do.";
                Err(Fault::new(Code::Unauthenticated, "the role is another one now", hint))
            }
            Err(Fault::Rejected { rejection, .. }) if rejection.code == Code::Unauthenticated => {
                Err(rejection.into())
            }
            // The database is away: nobody is cut off for that.
            Err(_) => Ok(()),
        }
    }
}

/// The first beat comes after the period; beats that were missed are not made up for.
pub(super) fn every(period: std::time::Duration) -> Interval {
    let mut interval = interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// What of a request's headers says who sends it.
pub(super) fn shown(headers: &HeaderMap) -> HeaderMap {
    let kept = [header::AUTHORIZATION, header::COOKIE];
    let pairs = headers.iter().filter(|(name, _)| kept.contains(name));
    pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
}
