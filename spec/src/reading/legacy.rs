//! The legacy action file, `action.json`, and what its user gives beside it.
//!
//! Owns its keys, and what stands in where nothing was given: the title is the name, the message is the title, and
//! there is no description. A name and a branch must be given, because both outlive the action: the one is how it is
//! found again, the other is written into every repository. Nothing in this format is a template.

use std::collections::HashSet;

use events::document::Publication;

use super::batch::name_problem;
use super::changeset::branch_problem;
use super::step::{absolute, image_problem};
use super::walk::{self, Fields, Shape, Walk};
use crate::changeset::{ChangesetTemplate, Published};
use crate::definition::{Action, Container, Definition, Kind, Scope, Step};
use crate::diagnostic::{Code, Problem, nearest, shown};
use crate::document::{Node, NodeKind};
use crate::settings::Settings;
use crate::source::{Given, Source};
use crate::template::Template;
use crate::text::Place;
use crate::transform::TransformChanges;

pub(super) const ACTION: Shape = Shape {
    what: "an action file",
    keys: &["scopeQuery", "steps", "$schema"],
    elsewhere: &[
        ("name", "it is given beside the file: `--name …` on the command line"),
        ("branch", "it is given beside the file: `--branch …` on the command line"),
        ("title", "it is given beside the file: `--title …` on the command line"),
        ("body", "it is given beside the file: `--body …` on the command line"),
        ("message", "it is given beside the file: `--message …` on the command line"),
    ],
};

pub(super) const STEP: Shape = Shape {
    what: "a step",
    keys: &["type", "image", "dockerfile", "args", "cacheDirs"],
    elsewhere: &[("run", "an action file has `args`; scripts belong to batch specs")],
};

const TYPES: [&str; 2] = ["docker", "command"];

/// Reads a legacy action file.
pub(super) fn definition(walk: &mut Walk<'_>, root: &Node, source: &Source<'_>) -> Option<Definition> {
    let template = template(walk, source.given);
    if matches!(root.kind, NodeKind::Null) {
        walk.problem(
            Problem::new(Code::MissingKey, 0..0, "the file says nothing")
                .hint("an action file says `scopeQuery` and `steps`"),
        );
        return None;
    }
    let fields = walk.map(root, &ACTION)?;
    let query = walk.required(&fields, "scopeQuery").and_then(|node| walk.filled(node, "scopeQuery"));
    let steps = walk.required(&fields, "steps").map(|node| steps(walk, node, source.command_image));
    let (name, changeset_template) = template?;
    Some(Definition {
        kind: Kind::Legacy,
        name,
        description: String::new(),
        on: vec![Scope::Query { query: query?.to_owned() }],
        workspaces: Vec::new(),
        steps: steps?,
        transform_changes: TransformChanges::default(),
        import_changesets: Vec::new(),
        changeset_template: Some(changeset_template),
        settings: Settings::default(),
    })
}

fn steps(walk: &mut Walk<'_>, node: &Node, command_image: &str) -> Vec<Step> {
    let Some(items) = walk.list(node, "steps") else { return Vec::new() };
    if items.is_empty() {
        walk.problem(
            Problem::new(Code::MissingKey, node.anchor(), "`steps` says nothing")
                .hint("an action has one step at least"),
        );
    }
    items.iter().filter_map(|item| step(walk, item, command_image)).collect()
}

fn step(walk: &mut Walk<'_>, node: &Node, command_image: &str) -> Option<Step> {
    let fields = walk.map(node, &STEP)?;
    let cache_dirs = cache_dirs(walk, &fields);
    let args = fields.get("args").and_then(|node| args(walk, node));
    let node = walk.required(&fields, "type")?;
    let (container, action) = match walk.filled(node, "type")? {
        "docker" => {
            let action = Action::Arguments(args.unwrap_or_default());
            (docker(walk, &fields)?, action)
        }
        "command" => (command(walk, &fields, command_image), Action::Command(args_of(walk, &fields, args)?)),
        other => {
            let message = format!("there is no type `{}`", shown(other));
            let hint = match nearest(other, &TYPES) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("types: {}", walk::listed(&TYPES)),
            };
            walk.problem(Problem::new(Code::InvalidValue, node.anchor(), message).hint(hint));
            return None;
        }
    };
    Some(Step {
        container,
        action,
        condition: None,
        outputs: Vec::new(),
        env: Vec::new(),
        secrets: Vec::new(),
        files: Vec::new(),
        mounts: Vec::new(),
        cache_dirs,
        timeout: None,
    })
}

/// The container of a `docker` step: an image, or the Dockerfile that makes one.
fn docker(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Option<Container> {
    match (fields.get("image"), fields.get("dockerfile")) {
        (Some(_), Some(_)) => {
            walk.problem(
                Problem::new(
                    Code::ConflictingKeys,
                    fields.place("dockerfile"),
                    "`dockerfile` and `image` exclude each other",
                )
                .hint("keep the one that the step runs in"),
            );
            None
        }
        (None, Some(node)) => {
            walk.filled(node, "dockerfile").map(|text| Container::Dockerfile(text.to_owned()))
        }
        (Some(node), None) => {
            let image = walk.filled(node, "image")?;
            if let Some(problem) = image_problem(node, image) {
                walk.problem(problem);
                return None;
            }
            Some(Container::Image(literal(image.trim(), "image")))
        }
        (None, None) => {
            let message = "a step of type `docker` needs `image`";
            walk.problem(
                Problem::new(Code::MissingKey, fields.place("image"), message)
                    .hint("name one, or say in `dockerfile` how it is made"),
            );
            None
        }
    }
}

/// The container of a `command` step, which says only what runs.
fn command(walk: &mut Walk<'_>, fields: &Fields<'_>, command_image: &str) -> Container {
    for key in ["image", "dockerfile"].into_iter().filter(|key| fields.get(key).is_some()) {
        walk.problem(
            Problem::new(
                Code::ConflictingKeys,
                fields.place(key),
                format!("a step of type `command` has no `{key}`"),
            )
            .hint(format!(
                "make it a step of type `docker`, or remove `{key}`: it runs in `{command_image}`"
            )),
        );
    }
    Container::Image(literal(command_image, "image"))
}

fn args_of(walk: &mut Walk<'_>, fields: &Fields<'_>, args: Option<Vec<String>>) -> Option<Vec<String>> {
    walk.required(fields, "args")?;
    let args = args?;
    if args.is_empty() {
        walk.problem(
            Problem::new(Code::MissingKey, fields.place("args"), "`args` says nothing")
                .hint("its first item is the program"),
        );
        return None;
    }
    Some(args)
}

fn args(walk: &mut Walk<'_>, node: &Node) -> Option<Vec<String>> {
    let items = walk.list(node, "args")?;
    let texts = items.iter().map(|item| walk.text(item, "args").map(|text| text.value.clone()));
    texts.collect::<Vec<_>>().into_iter().collect()
}

fn cache_dirs(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Vec<String> {
    let Some(node) = fields.get("cacheDirs") else { return Vec::new() };
    let mut dirs: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for item in walk.list(node, "cacheDirs").unwrap_or_default() {
        let Some(path) = walk.text(item, "cacheDirs") else { continue };
        // The same folder twice is still one folder.
        dirs.extend(absolute(walk, &path.value, item.anchor()).filter(|dir| seen.insert(dir.clone())));
    }
    dirs
}

/// A text of this format, in which `${{` means nothing.
fn literal(text: &str, field: &str) -> Template {
    Template::literal(text, field, Place { line: 1, column: 1 })
}

/// The name and the changeset template from what was given.
fn template(walk: &mut Walk<'_>, given: &Given) -> Option<(String, ChangesetTemplate)> {
    let filled = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = filled(&given.name);
    let branch = filled(&given.branch);
    for (what, option, missing) in
        [("name", "--name", name.is_none()), ("branch for its changes", "--branch", branch.is_none())]
    {
        if missing {
            let message = format!("the action needs a {what}, which an action file cannot say");
            let hint = format!("give it beside the file: `{option} …` on the command line");
            walk.problem(Problem::new(Code::MissingGiven, 0..0, message).hint(hint));
        }
    }
    let name = name.filter(|name| check_name(walk, name));
    let branch = branch.filter(|branch| check_branch(walk, branch));
    let name = name?;
    let title = filled(&given.title).unwrap_or_else(|| name.clone());
    let message = filled(&given.message).unwrap_or_else(|| title.clone());
    let template = ChangesetTemplate {
        title: literal(&title, "given title"),
        body: filled(&given.body).map(|body| literal(&body, "given body")),
        branch: literal(&branch?, "given branch"),
        message: literal(&message, "given message"),
        author: None,
        fork: None,
        published: Published::All(Publication::Undecided),
    };
    Some((name, template))
}

fn check_name(walk: &mut Walk<'_>, name: &str) -> bool {
    let Some((message, hint)) = name_problem(name) else { return true };
    let range = 0..walk.given_text(walk::GIVEN_NAME).len();
    walk.given_problem(walk::GIVEN_NAME, Problem::new(Code::InvalidValue, range, message).hint(hint));
    false
}

fn check_branch(walk: &mut Walk<'_>, branch: &str) -> bool {
    let range = 0..walk.given_text(walk::GIVEN_BRANCH).len();
    let problem = branch_problem(range, branch);
    let valid = problem.is_none();
    problem.into_iter().for_each(|problem| walk.given_problem(walk::GIVEN_BRANCH, problem));
    valid
}
