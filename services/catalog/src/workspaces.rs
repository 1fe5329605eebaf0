//! Workspaces: from a pinned commit to the places in it where jobs work.
//!
//! Owns the use of `workspaces` and of what `if` says before anything runs; what they mean is the definition's. Never looks
//! at a file's content. Invariant: a place that gets no job is said, with the reason.

use std::path::Path;
use std::time::Duration;

use events::document::{Place, SkipReason};
use events::git::Oid;
use spec::{Context, Definition, NO_STEPS, WorkspaceRule};

use crate::git::{self, Io};
use crate::heads::Pin;
use crate::pack;
use crate::targets::Target;
use crate::trouble::{Skip, Trouble};

/// How long the listing of a commit may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The rule for a repository; without one its root is its only workspace.
pub(crate) fn rule<'d>(
    definition: &'d Definition,
    repository: &str,
) -> Result<Option<&'d WorkspaceRule>, Skip> {
    WorkspaceRule::find(&definition.workspaces, repository)
        .map_err(|two| Skip::new(SkipReason::TwoRules, format!("{two}.")))
}

/// The folders of a commit that hold such a file, sorted.
pub(crate) async fn roots(git_dir: &Path, oid: &Oid, rule: &WorkspaceRule) -> Result<Vec<String>, Trouble> {
    let mut command = git::local(git_dir, "ls-tree");
    command.args(["-r", "-z", "--full-tree", oid.as_str()]);
    let output = git::run(command, Io::default(), PATIENCE).await?;
    pack::check(&output, oid)?;
    let files = output.stdout.split(|byte| *byte == 0).filter_map(file);
    Ok(rule.roots(files).into_iter().map(str::to_owned).collect())
}

/// The path of a file in a line of `ls-tree`; none for a submodule, and for a name that cannot be asked for.
fn file(line: &[u8]) -> Option<&str> {
    let (meta, path) = std::str::from_utf8(line).ok()?.split_once('\t')?;
    meta.contains(" blob ").then_some(path)
}

/// A commit in which jobs may work.
pub(crate) struct Commit<'a> {
    pub(crate) target: &'a Target,
    pub(crate) pin: &'a Pin,
}

impl Commit<'_> {
    /// The places at these roots, each with a job to do or the reason why it has none. No roots: one reason.
    pub(crate) fn places(
        &self,
        definition: &Definition,
        rule: Option<&WorkspaceRule>,
        roots: Vec<String>,
    ) -> Vec<Result<Place, Skip>> {
        if let (true, Some(rule)) = (roots.is_empty(), rule) {
            let message = format!("{} of `{}`.", rule.without_roots(), self.pin.0.short());
            return vec![Err(Skip::new(SkipReason::NoWorkspace, capital(&message)))];
        }
        roots.into_iter().map(|path| self.place(definition, path)).collect()
    }

    fn place(&self, definition: &Definition, path: String) -> Result<Place, Skip> {
        let (base_ref, base_oid) = self.pin;
        let context = Context::of(definition, &self.target.name, base_ref, &path);
        if !definition.steps.is_empty() && definition.steps_in(&context).is_empty() {
            let root = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
            return Err(Skip::new(SkipReason::NoSteps, capital(&format!("{root}{NO_STEPS}."))));
        }
        Ok(Place {
            repository: self.target.name.clone(),
            url: self.target.location.url().to_owned(),
            base_ref: base_ref.clone(),
            base_oid: base_oid.clone(),
            path,
        })
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
