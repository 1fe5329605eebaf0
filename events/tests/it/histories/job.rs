//! Jobs under random commands: one end, attempts that only go up, and no word from an old one.

use std::collections::BTreeSet;

use events::job::{self, Command, Event, Job, State, decide, evolve};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{endure, obey};
use crate::arbitrary::{job_command, job_event};

/// A command and whether it is turned into what the job waits for; left alone, few histories would get far.
fn commands() -> impl Strategy<Value = Vec<(Command, bool)>> {
    vec((job_command(), prop::bool::weighted(0.7)), 0..80)
}

fn aimed(job: &Job, (command, aim): (Command, bool)) -> Command {
    let current = job.attempt;
    match command {
        other if !aim => other,
        Command::Assign { runner, secrets, .. } => Command::Assign { attempt: current + 1, runner, secrets },
        Command::Start { .. } => Command::Start { attempt: current },
        Command::StartStep(_) => Command::StartStep(job::StepStarted {
            attempt: current,
            step: job.step_finished.saturating_add(1),
        }),
        Command::FinishStep(end) => {
            Command::FinishStep(job::StepFinished { attempt: current, step: job.step_started, ..end })
        }
        Command::SkipStep(_) => Command::SkipStep(job::StepSkipped {
            attempt: current,
            step: job.step_finished.saturating_add(1),
        }),
        Command::ReuseSteps(steps) => {
            let step = job.step_finished.saturating_add(1 + steps.step % 3);
            Command::ReuseSteps(job::StepsReused { attempt: current, step, ..steps })
        }
        Command::Succeed(end) => Command::Succeed(job::Succeeded { attempt: current, ..end }),
        Command::Fail { failure, log, .. } => Command::Fail { attempt: current, failure, log },
        Command::TimeOut(end) => Command::TimeOut(job::TimedOut { attempt: current, ..end }),
        Command::Lose(loss) => Command::Lose(job::Loss { attempt: current, ..loss }),
        Command::Return { reason, .. } => Command::Return { attempt: current, reason },
        Command::Cancel(end) => {
            let attempt = job.runner().map(|_| current);
            Command::Cancel(job::Canceled { attempt, log: attempt.and(end.log) })
        }
        Command::SealLog { blob, log, .. } => Command::SealLog { attempt: current, blob, log },
        other => other,
    }
}

/// The attempt that a command speaks for as its runner.
fn speaker(command: &Command) -> Option<u32> {
    match command {
        Command::Start { attempt } | Command::Fail { attempt, .. } | Command::Return { attempt, .. } => {
            Some(*attempt)
        }
        Command::Lose(loss) => Some(loss.attempt),
        Command::Cancel(end) => end.attempt,
        Command::StartStep(step) => Some(step.attempt),
        Command::FinishStep(step) => Some(step.attempt),
        Command::SkipStep(step) => Some(step.attempt),
        Command::ReuseSteps(steps) => Some(steps.attempt),
        Command::Succeed(end) => Some(end.attempt),
        Command::TimeOut(end) => Some(end.attempt),
        _ => None,
    }
}

/// Each state with the command that came and the event that it made.
fn run(commands: Vec<(Command, bool)>) -> Vec<(Job, Command, Option<Event>)> {
    let mut job = Job::default();
    let mut steps = Vec::new();
    for command in commands {
        let command = aimed(&job, command);
        let event = decide(&job, command.clone()).unwrap_or(None);
        steps.push((job.clone(), command, event.clone()));
        if let Some(event) = event {
            job = evolve(job, &event);
        }
    }
    steps
}

fn is_end(event: &Event) -> bool {
    matches!(
        event,
        Event::Succeeded(_)
            | Event::Failed(_)
            | Event::TimedOut(_)
            | Event::QueueTimedOut(_)
            | Event::Canceled(_)
    )
}

proptest! {
    #[test]
    fn no_history_makes_it_panic(events in vec(job_event(), 0..40), commands in vec(job_command(), 0..40)) {
        endure(events, commands, decide, evolve);
    }

    #[test]
    fn a_command_that_is_repeated_makes_no_second_event(commands in commands()) {
        let commands = run(commands).into_iter().map(|(_, command, _)| command).collect();
        obey(commands, decide, evolve)?;
    }

    #[test]
    fn it_ends_once_unless_it_is_retried(commands in commands()) {
        let mut ended = false;
        for event in run(commands).iter().filter_map(|(_, _, event)| event.as_ref()) {
            match event {
                Event::Retried(_) => {
                    prop_assert!(ended);
                    ended = false;
                }
                end if is_end(end) => {
                    prop_assert!(!ended, "a second end: {:?}", end);
                    ended = true;
                }
                Event::LogSealed(_) => {}
                other => prop_assert!(!ended, "{:?} after the end", other),
            }
        }
    }

    #[test]
    fn attempts_only_go_up_and_by_one(commands in commands()) {
        let steps = run(commands);
        for pair in steps.windows(2) {
            let [(before, _, event), (after, ..)] = pair else { unreachable!("a window of two") };
            let given_out = u32::from(matches!(event, Some(Event::Assigned(_))));
            prop_assert_eq!(after.attempt, before.attempt + given_out);
        }
    }

    #[test]
    fn only_the_attempt_that_a_runner_holds_has_a_say(commands in commands()) {
        for (job, command, event) in run(commands) {
            let held = job.runner().map(|_| job.attempt);
            if let (Some(attempt), Some(event)) = (speaker(&command), event) {
                prop_assert_eq!(Some(attempt), held, "{:?}", event);
            }
        }
    }

    #[test]
    fn a_runner_that_is_lost_again_and_again_ends_the_job(commands in commands()) {
        for (job, ..) in run(commands) {
            prop_assert!(job.losses < job::MAX_LOSSES);
            prop_assert!(job.losses == 0 || job.state != State::Absent);
        }
    }
}

proptest! {
    #[test]
    fn what_is_to_stop_is_never_given_out_and_a_runner_stops_only_what_is_to(commands in commands()) {
        for (job, _, event) in run(commands) {
            match event {
                Some(Event::Assigned(_)) => prop_assert!(!job.cancel_requested),
                Some(Event::Lost(_)) => prop_assert!(!job.cancel_requested),
                Some(Event::Canceled(end)) if end.attempt.is_some() => prop_assert!(job.cancel_requested),
                _ => {}
            }
        }
    }

    #[test]
    fn only_what_is_not_the_jobs_doing_is_tried_again_and_waits(commands in commands()) {
        for (job, command, event) in run(commands) {
            match (command, event) {
                (_, Some(Event::Failed(failed))) => {
                    prop_assert_eq!(failed.origin, failed.failure.kind.origin());
                }
                (Command::Lose(loss), Some(Event::Lost(lost))) => {
                    let wait = job::back_off(loss.cause, job.losses);
                    let counts = loss.cause != job::LossCause::Drained;
                    prop_assert_eq!(counts, wait > chrono::TimeDelta::zero());
                    let at = counts.then(|| loss.now.checked_add_signed(wait)).flatten();
                    prop_assert_eq!(lost.retry_at, at);
                }
                (command, Some(Event::Lost(_))) => prop_assert!(false, "{:?} lost an attempt", command),
                _ => {}
            }
        }
    }
}

#[test]
fn random_histories_get_everywhere() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..1_000 {
        let commands = commands().new_tree(&mut runner).unwrap().current();
        for event in run(commands).into_iter().filter_map(|(_, _, event)| event) {
            match &event {
                Event::Failed(failed) if failed.log.is_none() => seen.insert("worn out"),
                _ => seen.insert(event.name()),
            };
        }
    }
    let mut everything: BTreeSet<&str> = Event::TYPES.iter().map(|known| known.name).collect();
    everything.insert("worn out");
    assert_eq!(seen, everything);
}
