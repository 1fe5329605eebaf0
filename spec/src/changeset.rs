//! The changeset template: what a job's changes are published as.
//!
//! Owns the rules for titles, branches, messages and authors once they are rendered. Invariant: a [`Changeset`] never
//! targets its own base and always has a title, a message and a branch that git accepts.

use events::document::Publication;
use events::git::BranchRef;

use crate::context::Context;
use crate::diagnostic::shown;
use crate::template::{Glob, RenderError, RenderFault, Template};

/// `changesetTemplate`, or what a legacy action's user gave in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangesetTemplate {
    /// The title.
    pub title: Template,
    /// The description in Markdown.
    pub body: Option<Template>,
    /// The branch to push to.
    pub branch: Template,
    /// The commit's message.
    pub message: Template,
    /// The commit's author; absent: the one configured for publishing.
    pub author: Option<Author>,
    /// Whether to push to a fork; absent: as the server does.
    pub fork: Option<bool>,
    /// What is published by itself.
    pub published: Published,
}

/// `commit.author`.
#[derive(Clone, Debug, PartialEq)]
pub struct Author {
    /// The name.
    pub name: Template,
    /// The e-mail address.
    pub email: Template,
}

/// `published`.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    /// The same for every changeset.
    All(Publication),
    /// By repository and branch: the last rule that matches wins, none leaves it undecided.
    Rules(Vec<PublicationRule>),
}

/// One entry of a `published` list.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicationRule {
    /// The repositories by their names.
    pub repository: Glob,
    /// The head branch; absent: any.
    pub branch: Option<String>,
    /// What applies to them.
    pub publication: Publication,
}

/// What a job's changes are published as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changeset {
    /// The title, trimmed and not empty.
    pub title: String,
    /// The description in Markdown, trimmed; may be empty.
    pub body: String,
    /// The branch to push to.
    pub branch: BranchRef,
    /// The commit's message, trimmed and not empty.
    pub message: String,
    /// The commit's author.
    pub author: Option<ChangesetAuthor>,
    /// Whether to push to a fork.
    pub fork: Option<bool>,
    /// What happens to it by itself.
    pub publication: Publication,
}

/// A commit's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesetAuthor {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
}

impl ChangesetTemplate {
    /// Renders the changeset of a job whose base branch is `base`.
    pub fn render(&self, context: &Context, base: &BranchRef) -> Result<Changeset, RenderError> {
        let branch = branch(&self.branch, context, base)?;
        Ok(Changeset {
            title: filled(&self.title, context)?,
            body: match &self.body {
                Some(body) => body.render(context)?.trim().to_owned(),
                None => String::new(),
            },
            publication: self.published.decide(&context.repository.name, &branch),
            branch,
            message: filled(&self.message, context)?,
            author: self.author.as_ref().map(|author| author.render(context)).transpose()?,
            fork: self.fork,
        })
    }
}

impl Author {
    fn render(&self, context: &Context) -> Result<ChangesetAuthor, RenderError> {
        let part = |template: &Template| {
            let text = filled(template, context)?;
            match has_author_marks(&text) {
                true => Err(template.error(0, RenderFault::BadAuthor { text: shown(&text) })),
                false => Ok(text),
            }
        };
        Ok(ChangesetAuthor { name: part(&self.name)?, email: part(&self.email)? })
    }
}

impl Published {
    /// What happens to the changeset of a repository and a head branch: the last rule that matches both decides.
    pub(crate) fn decide(&self, repository: &str, branch: &BranchRef) -> Publication {
        match self {
            Self::All(publication) => *publication,
            Self::Rules(rules) => rules
                .iter()
                .rev()
                .find(|rule| rule.matches(repository, branch))
                .map_or(Publication::Undecided, |rule| rule.publication),
        }
    }
}

impl PublicationRule {
    fn matches(&self, repository: &str, branch: &BranchRef) -> bool {
        let same_branch = |wanted: &String| without_prefix(wanted) == branch.short();
        self.branch.as_ref().is_none_or(same_branch) && self.repository.matches(repository)
    }
}

/// Whether git would refuse a text as a part of an author.
pub(crate) fn has_author_marks(text: &str) -> bool {
    text.contains(['\n', '\r', '\0', '<', '>'])
}

/// A branch name without `refs/heads/`.
pub(crate) fn without_prefix(branch: &str) -> &str {
    branch.strip_prefix("refs/heads/").unwrap_or(branch)
}

/// Renders a field that must say something.
fn filled(template: &Template, context: &Context) -> Result<String, RenderError> {
    // Real definitions spread a branch or title over several lines and rely on this.
    let text = template.render(context)?.trim().to_owned();
    match text.is_empty() {
        true => Err(template.error(0, RenderFault::Empty)),
        false => Ok(text),
    }
}

fn branch(template: &Template, context: &Context, base: &BranchRef) -> Result<BranchRef, RenderError> {
    let text = filled(template, context)?;
    let name = without_prefix(&text);
    let branch: BranchRef = format!("refs/heads/{name}")
        .parse()
        .map_err(|_| template.error(0, RenderFault::BadBranch { name: shown(name) }))?;
    match branch == *base {
        true => Err(template.error(0, RenderFault::BaseBranch { name: shown(name) })),
        false => Ok(branch),
    }
}
