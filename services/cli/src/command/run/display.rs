//! The progress on standard error: bars where there is a terminal, plain lines where there is none.
//!
//! Owns what is drawn. Standard output stays free for results.

use std::collections::HashMap;
use std::time::Duration;

use events::id::JobId;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::{OwoColorize as _, Stream, Style};

use super::progress::Progress;

/// How many running jobs have a line of their own.
const MAX_JOBS: usize = 10;

/// Where a person is told.
pub(in crate::command) struct Display {
    /// Nothing is said.
    silent: bool,
    bars: Option<Bars>,
}

struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    jobs: HashMap<JobId, ProgressBar>,
}

impl Display {
    /// A display for a person, or for nobody.
    pub(in crate::command) fn new(silent: bool) -> Self {
        use std::io::IsTerminal as _;
        let bars = (!silent && std::io::stderr().is_terminal()).then(Bars::new);
        Self { silent, bars }
    }

    /// A display of lines alone.
    pub(in crate::command) const fn lines(silent: bool) -> Self {
        Self { silent, bars: None }
    }

    /// Says a line.
    pub(in crate::command) fn say(&self, text: &str) {
        match &self.bars {
            _ if self.silent => {}
            // Without the terminal there is nobody to tell.
            Some(bars) => drop(bars.all.println(text)),
            None => eprintln!("{text}"),
        }
    }

    /// Says that something went well.
    pub(super) fn good(&self, text: &str) {
        self.say(&format!("{} {text}", mark("✓", Style::new().green())));
    }

    /// Says that something did not.
    pub(super) fn bad(&self, text: &str) {
        self.say(&format!("{} {text}", mark("✗", Style::new().red().bold())));
    }

    /// Shows how many of these bytes have gone out.
    pub(super) fn transfer(&self, bytes: u64) -> Transfer {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = ProgressBar::new(bytes).with_style(style(TRANSFER));
            bars.all.insert_before(&bars.total, bar)
        });
        Transfer { bar }
    }

    /// Shows how it stands.
    pub(super) fn show(&mut self, progress: &Progress) {
        if let Some(bars) = &mut self.bars {
            bars.show(progress);
        }
    }

    /// Takes what moves off the terminal; what was said stays.
    pub(super) fn finish(&mut self) {
        if let Some(bars) = self.bars.take() {
            for bar in bars.jobs.values().chain([&bars.total]) {
                bar.finish_and_clear();
            }
        }
    }
}

/// What has gone out of something long. Cheap to clone.
#[derive(Clone)]
pub(super) struct Transfer {
    bar: Option<ProgressBar>,
}

impl Transfer {
    /// Counts from nothing again.
    pub(super) fn restart(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(0);
        }
    }

    /// Counts more.
    pub(super) fn add(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// Takes it off the terminal.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

const TRANSFER: &str = "sending {bar:30} {bytes}/{total_bytes} {bytes_per_sec}";

fn mark(mark: &str, style: Style) -> String {
    mark.if_supports_color(Stream::Stderr, |text| text.style(style)).to_string()
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let total =
            all.add(ProgressBar::new(0).with_style(style("{elapsed} {bar:30} {pos}/{len} {wide_msg}")));
        total.enable_steady_tick(Duration::from_secs(1));
        Self { all, total, jobs: HashMap::new() }
    }

    fn show(&mut self, progress: &Progress) {
        self.total.set_length(progress.expected.unwrap_or_default());
        self.total.set_position(progress.ended());
        self.total.set_message(progress.counts());
        let running: HashMap<JobId, String> = progress.running().take(MAX_JOBS).collect();
        self.jobs.retain(|job, bar| {
            let runs = running.contains_key(job);
            if !runs {
                bar.finish_and_clear();
                self.all.remove(bar);
            }
            runs
        });
        for (job, text) in running {
            let bar = self.jobs.entry(job).or_insert_with(|| {
                let bar = ProgressBar::new_spinner().with_style(style("  {spinner} {wide_msg} {elapsed}"));
                let bar = self.all.insert_before(&self.total, bar);
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            bar.set_message(text);
        }
    }
}

/// The templates are ours; one that were wrong would fall back to the library's own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in
            ["{elapsed} {bar:30} {pos}/{len} {wide_msg}", "  {spinner} {wide_msg} {elapsed}", TRANSFER]
        {
            ProgressStyle::with_template(template).expect("a template");
        }
    }
}
