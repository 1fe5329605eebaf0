//! The changeset template: what a job's changes are published as.
//!
//! Owns the rules for titles, branches, messages and authors once they are rendered. Invariant: a [`Changeset`] never
//! targets its own base and always has a title, a message and a branch that git accepts.

use events::git::BranchRef;

use crate::context::Context;
use crate::template::{RenderError, Template};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The same for every changeset.
    All(Publication),
    /// By repository and branch: the last rule that matches wins, none leaves it undecided.
    Rules(Vec<PublicationRule>),
}

/// One entry of a `published` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationRule {
    /// A glob on the repository's name.
    pub repository: String,
    /// The head branch; absent: any.
    pub branch: Option<String>,
    /// What applies to them.
    pub publication: Publication,
}

/// What happens to a changeset by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// Nobody said: decided by hand.
    Undecided,
    /// It stays unpublished.
    Unpublished,
    /// It is published as a draft.
    Draft,
    /// It is published.
    Published,
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
        let _ = (context, base);
        unimplemented!("published for its signatures")
    }
}
