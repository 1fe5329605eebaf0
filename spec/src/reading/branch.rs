//! The template's branch, seen together with the rest of the definition.
//!
//! Owns the warnings about it. Which changesets there will be is known only once jobs have run, so these are no errors.

use super::walk::Walk;
use crate::changeset::ChangesetTemplate;
use crate::definition::{Definition, Scope};
use crate::diagnostic::{Code, Problem, shown};
use crate::document::Node;
use crate::template::Root;

/// Warns of a branch that changesets would share, and of one that would replace all of them.
pub(super) fn check(walk: &mut Walk<'_>, node: &Node, definition: &Definition) {
    let Some(template) = &definition.changeset_template else { return };
    shared(walk, node, definition, template);
    let before = walk.previous().and_then(|previous| previous.changeset_template.as_ref());
    let Some(before) =
        before.filter(|before| before.branch.source().trim() != template.branch.source().trim())
    else {
        return;
    };
    let message = format!("the branch was `{}` before", shown(before.branch.source().trim()));
    walk.problem(
        Problem::new(Code::ReplacedBranch, node.anchor(), message)
            .hint("a changeset is known by its branch: every one there is would be closed, and a new one opened")
            .warning(),
    );
}

fn shared(walk: &mut Walk<'_>, node: &Node, definition: &Definition, template: &ChangesetTemplate) {
    // Outputs, changed files and the workspace's path differ between the workspaces of a repository.
    let is_of_workspace = |root| !matches!(root, Root::Repository | Root::BatchChange);
    let of_workspace = template.branch.uses().any(|(root, _)| is_of_workspace(root));
    // The whole of a variable holds each of its fields.
    let is_branch = |root, field| root == Root::Repository && matches!(field, None | Some("branch"));
    let of_branch = of_workspace || template.branch.uses().any(|(root, field)| is_branch(root, field));
    let several = |scope: &Scope| matches!(scope, Scope::Repository { branches, .. } if branches.len() > 1);
    let (what, hint) = match () {
        () if !definition.workspaces.is_empty() && !of_workspace => (
            "workspaces",
            "make it another one for each, for example with `${{ replace steps.path \"/\" \"-\" }}`",
        ),
        () if definition.on.iter().any(several) && !of_branch => {
            ("branches", "make it another one for each, for example with `${{ repository.branch }}`")
        }
        () => return,
    };
    let message =
        format!("all {what} of a repository would be pushed to this one branch, so at most one can be");
    walk.problem(Problem::new(Code::SharedBranch, node.anchor(), message).hint(hint).warning());
}
