//! Filters: which events are meant, by a subject or by whose they are.
//!
//! Owns the one reading of what people and programs give as a filter. Invariant: what comes out of it is a list of subjects
//! that the broker takes, none of which covers another.

use std::str::FromStr;

use crate::id::{
    ActionId, ExecutionId, InvalidId, JobId, PlanId, PreviewId, RepositoryId, SecretId, TokenId, UserId,
};
use crate::{Aggregate, subject};

/// What somebody gave: a subject, or the id of what the events are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFilter(String);

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        if text.starts_with("ev.") || text == "ev" {
            return from_subject(text).map(Self);
        }
        let (kind, _) = text.split_once('_').unwrap_or_default();
        let wrong = |error: InvalidId| InvalidFilter(error.to_string());
        Ok(Self(match kind {
            ExecutionId::KIND => subject::execution_story(text.parse().map_err(wrong)?),
            JobId::KIND => subject::job_story(text.parse().map_err(wrong)?),
            ActionId::KIND => of(Aggregate::Action(text.parse().map_err(wrong)?)),
            PlanId::KIND => of(Aggregate::Plan(text.parse().map_err(wrong)?)),
            PreviewId::KIND => of(Aggregate::Preview(text.parse().map_err(wrong)?)),
            SecretId::KIND => of(Aggregate::Secret(text.parse().map_err(wrong)?)),
            UserId::KIND => of(Aggregate::User(text.parse().map_err(wrong)?)),
            TokenId::KIND => of(Aggregate::Token(text.parse().map_err(wrong)?)),
            RepositoryId::KIND => of(Aggregate::Repository(text.parse().map_err(wrong)?)),
            _ => {
                return Err(InvalidFilter(
                    "write a subject, `ev.execution.>` for one, or the id of an execution, job, action, plan, preview, repository, \
                     secret, user or token"
                        .to_owned(),
                ));
            }
        }))
    }
}

fn of(aggregate: Aggregate) -> String {
    subject::aggregate_filter(&aggregate)
}

/// A subject that the broker takes as a filter.
fn from_subject(text: &str) -> Result<String, InvalidFilter> {
    let tokens: Vec<&str> = text.split('.').collect();
    let (last, before) =
        tokens.split_last().ok_or_else(|| InvalidFilter("the subject is empty".to_owned()))?;
    let fine = |token: &&str| {
        !token.is_empty() && !token.contains(char::is_whitespace) && !token.contains(char::is_control)
    };
    let whole = |token: &&str| fine(token) && (*token == "*" || !token.contains(['*', '>']));
    if before.iter().all(whole) && (whole(last) || *last == ">") && tokens.len() > 1 {
        Ok(text.to_owned())
    } else {
        Err(InvalidFilter(
            "in a subject `*` stands for one part and `>` for all that follow, at its end: ev.execution.*.completed".to_owned(),
        ))
    }
}

/// The subjects to ask the broker for: all events if nothing was given. It refuses two of which one covers the other.
pub fn subjects(filters: &[Filter]) -> Vec<String> {
    if filters.is_empty() {
        return vec![subject::ALL_EVENTS.to_owned()];
    }
    let mut subjects: Vec<String> = Vec::new();
    for Filter(filter) in filters {
        if !subjects.iter().any(|known| covers(known, filter)) {
            subjects.retain(|known| !covers(filter, known));
            subjects.push(filter.clone());
        }
    }
    subjects
}

/// Whether every subject of `narrow` is one of `wide`.
fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(token), Some(other)) if token == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_filter_is_a_subject_or_an_id() {
        let id = Uuid::from_u128(9);
        let token = ExecutionId::from_uuid(id).token();
        for (text, subject) in [
            ("ev.runner.>".to_owned(), "ev.runner.>".to_owned()),
            (ExecutionId::from_uuid(id).to_string(), format!("ev.execution.{token}.>")),
            (JobId::from_uuid(id).to_string(), format!("ev.execution.*.job.{token}.*")),
            (PlanId::from_uuid(id).to_string(), format!("ev.plan.{token}.*")),
        ] {
            assert_eq!(text.parse::<Filter>(), Ok(Filter(subject)));
        }
        for bad in ["", "ev", "ev..x", "ev.>.x", "ev.a*", "ev. x", "report.>", "job_1", "runner_x"] {
            assert!(bad.parse::<Filter>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_that_another_covers_is_left_out() {
        let of =
            |texts: &[&str]| subjects(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(of(&[]), ["ev.>"]);
        assert_eq!(of(&["ev.action.>", "ev.plan.>"]), ["ev.action.>", "ev.plan.>"]);
        assert_eq!(of(&["ev.plan.*.created", "ev.plan.>", "ev.plan.*.created"]), ["ev.plan.>"]);
        assert_eq!(of(&["ev.>", "ev.a.b"]), ["ev.>"]);
        assert!(!covers("ev.*", "ev.>") && !covers("ev.a.>", "ev.a"));
    }
}
