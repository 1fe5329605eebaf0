//! A run that is followed while something is done to it.
//!
//! Owns its process and what it has said so far. Reads no further than it is asked to, so that a story stands still there.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::Run;

/// A `patchwave run --json` that goes on.
pub struct Followed {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has said, in order.
    pub events: Vec<Value>,
}

impl Followed {
    /// Starts it.
    pub fn begin(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, events: Vec::new() }
    }

    /// Reads until so many events of a type have come.
    pub fn until(&mut self, count: usize, name: &str) -> &mut Self {
        self.until_that(count, |event| event["type"] == name)
    }

    /// Reads until so many events have come of which this is true.
    pub fn until_that(&mut self, count: usize, is: impl Fn(&Value) -> bool) -> &mut Self {
        while self.events.iter().filter(|event| is(event)).count() < count {
            let line = self.lines.next().expect("the run ended early").unwrap();
            self.events.push(serde_json::from_str(&line).unwrap());
        }
        self
    }

    /// The newest event of a type that has come.
    pub fn last(&self, name: &str) -> &Value {
        self.events.iter().rfind(|event| event["type"] == name).unwrap()
    }

    /// The execution's id.
    pub fn execution(&self) -> String {
        self.events[0]["aggregate"].as_str().unwrap().to_owned()
    }

    /// Reads to the end.
    pub fn end(mut self) -> Run {
        for line in self.lines.by_ref() {
            self.events.push(serde_json::from_str(&line.unwrap()).unwrap());
        }
        let output = self.child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Run { code: output.status.code().unwrap_or(-1), events: self.events, errors }
    }
}
