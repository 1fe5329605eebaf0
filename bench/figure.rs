//! A figure: a measured value, what it is measured against, and whether it is good enough.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

/// One measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// Its name, the same for ever.
    pub(crate) figure: &'static str,
    /// The median of what was measured, or the percentile that the name says.
    pub(crate) value: f64,
    /// The unit of the value.
    pub(crate) unit: &'static str,
    /// The floor or the peer, measured in the same run; absent where the goal is absolute.
    pub(crate) against: Option<Against>,
    /// The value over what it is measured against, or over the goal where that is absolute.
    pub(crate) ratio: f64,
    /// What the ratio should be.
    pub(crate) goal: Goal,
    /// Whether it is.
    pub(crate) holds: bool,
}

/// What a figure is measured against.
#[derive(Debug, Serialize)]
pub(crate) struct Against {
    /// What it is.
    pub(crate) what: String,
    /// Its value in the figure's unit.
    pub(crate) value: f64,
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Figure {
    /// A value beside a floor or a peer.
    pub(crate) fn against(
        figure: &'static str,
        unit: &'static str,
        value: f64,
        against: (&str, f64),
        goal: Goal,
    ) -> Self {
        let (what, floor) = against;
        let ratio = value / floor;
        let against = Some(Against { what: what.to_owned(), value: floor });
        Self { figure, value, unit, against, ratio, goal, holds: goal.holds(ratio) }
    }

    /// A value beside a limit of its own.
    pub(crate) fn within(figure: &'static str, unit: &'static str, value: f64, limit: f64) -> Self {
        let (ratio, goal) = (value / limit, Goal::AtMost(1.0));
        Self { figure, value, unit, against: None, ratio, goal, holds: goal.holds(ratio) }
    }

    /// A value that is itself what counts.
    pub(crate) fn absolute(figure: &'static str, unit: &'static str, value: f64, goal: Goal) -> Self {
        Self { figure, value, unit, against: None, ratio: value, goal, holds: goal.holds(value) }
    }

    /// Prints it and appends it to `target/bench.jsonl`.
    pub(crate) fn record(&self) {
        let holds = if self.holds { "holds" } else { "MISSED" };
        let (word, goal) = match self.goal {
            Goal::AtMost(goal) => ("at most", goal),
            Goal::AtLeast(goal) => ("at least", goal),
        };
        println!(
            "{:<28} {:>10.2} {:<9} {:>6.2}x of {}, goal {word} {goal}x: {holds}",
            self.figure,
            self.value,
            self.unit,
            self.ratio,
            self.floor()
        );
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
            std::path::PathBuf::from,
        );
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(target.join("bench.jsonl"))
            .expect("bench.jsonl");
        writeln!(file, "{}", serde_json::to_string(self).expect("a figure is JSON")).expect("bench.jsonl");
    }

    fn floor(&self) -> String {
        match &self.against {
            Some(against) => format!("{} ({:.2})", against.what, against.value),
            None => "the limit".to_owned(),
        }
    }
}

impl Goal {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(goal) => ratio <= goal,
            Self::AtLeast(goal) => ratio >= goal,
        }
    }
}

/// The value below which a share of them lies; they are sorted.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted[((last as f64) * share).round() as usize]
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}
