//! Definitions that are right, and what each comes to in one repository: a golden text for each file of `tests/good`.
//!
//! `UPDATE_DOCS=1 cargo test -p spec` writes the expected texts anew; read the difference before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use spec::{
    Action, BATCH_CHANGE_LINK, Changeset, Container, Context, Decision, Definition, Given, NO_STEPS, Share,
    Step, StepResult, Template, WorkspaceRule, within,
};

use crate::given::{accepted, named, read};

/// The repository, its files, and what a search found in it.
const NAME: &str = "github.com/example/monorepo";
const FILES: &[&str] = &[
    "README.md",
    "go.mod",
    "services/web/package.json",
    "services/web/src/app.js",
    "services/webshop/package.json",
    "services/webshop/src/shop.js",
    "services/api/main.go",
];
const FOUND: &[&str] = &["README.md", "services/web/src/app.js", "services/webshop/src/shop.js"];

/// What every step prints, and what all of them change.
const STDOUT: &str = r#"{"version": "1.2.3", "items": ["a", "b"], "image": "alpine:3"}"#;
const CHANGED: &[&str] =
    &["README.md", "services/web/src/app.js", "services/webshop/src/shop.js", "services/api/main.go"];

#[test]
fn good_definitions_come_to_what_is_expected() {
    let mut differing = Vec::new();
    for path in definitions() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let given = if name.contains(".action.") { named() } else { Given::default() };
        let text = comes_to(&accepted(read(&name, &fs::read_to_string(&path).unwrap(), &given)));
        let golden = path.with_file_name(format!("{name}.expected"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&golden, &text).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if text != expected {
            differing.push(format!("{name}: expected\n{expected}\nbut it is\n{text}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

fn definitions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_definition = |path: &PathBuf| path.extension().is_some_and(|extension| extension != "expected");
    let mut paths: Vec<_> = paths.filter(is_definition).collect();
    paths.sort();
    assert!(paths.len() > 10);
    paths
}

fn comes_to(definition: &Definition) -> String {
    let Definition { kind, name, description, on, settings, .. } = definition;
    let mut text = format!("{name}: {kind:?}, {description:?}\n");
    on.iter().for_each(|scope| writeln!(text, "on: {scope:?}").unwrap());
    definition.import_changesets.iter().for_each(|import| writeln!(text, "imports: {import:?}").unwrap());
    if *settings != spec::Settings::default() {
        writeln!(text, "{settings:?}").unwrap();
    }
    let rule = match WorkspaceRule::find(&definition.workspaces, NAME) {
        Ok(rule) => rule,
        Err(two) => return format!("{text}\n{NAME}: {two}\n"),
    };
    let roots: Vec<&str> =
        rule.map_or(vec![""], |rule| rule.roots(FILES.iter().copied()).into_iter().collect());
    if roots.is_empty() {
        let why = rule.map(WorkspaceRule::without_roots).unwrap_or_default();
        return format!("{text}\n{NAME}: skipped: {why}\n");
    }
    let only = rule.is_some_and(|rule| rule.only_fetch_workspace);
    for root in roots {
        writeln!(text, "\n{NAME}, workspace {root:?}, only that is fetched: {only}").unwrap();
        text.push_str(&workspace(definition, context(definition, root)));
    }
    text
}

fn context(definition: &Definition, root: &str) -> Context {
    let mut context = Context::default();
    context.batch_change.name.clone_from(&definition.name);
    context.batch_change.description.clone_from(&definition.description);
    context.repository.name = NAME.to_owned();
    context.repository.branch = "main".to_owned();
    let found = FOUND.iter().filter(|path| within(root, path));
    context.repository.search_result_paths = found.map(|path| (*path).to_owned()).collect();
    context.steps.path = root.to_owned();
    context.batch_change_link = BATCH_CHANGE_LINK.to_owned();
    context
}

/// What becomes of a workspace, step by step.
fn workspace(definition: &Definition, mut context: Context) -> String {
    let mut text = String::new();
    let steps = definition.steps_in(&context);
    if steps.is_empty() && !definition.steps.is_empty() {
        return format!("  skipped: {NO_STEPS}\n");
    }
    for (position, step) in definition.steps.iter().enumerate() {
        let decision = step.runs_statically(&context);
        write!(text, "  step {}: ", position + 1).unwrap();
        if decision == Decision::Decided(false) {
            assert!(!steps.contains(&position));
            text.push_str("is not there\n");
            continue;
        }
        match step.runs(&context) {
            Ok(true) => writeln!(text, "runs ({decision:?})").unwrap(),
            Ok(false) => {
                writeln!(text, "is skipped ({decision:?})").unwrap();
                continue;
            }
            Err(error) => {
                writeln!(text, "fails: {error}").unwrap();
                break;
            }
        }
        text.push_str(&ran(step, &mut context));
    }
    text + &changesets(definition, &context)
}

fn ran(step: &Step, context: &mut Context) -> String {
    let mut text = String::new();
    let mut line = |what: &str, shown: String| writeln!(text, "    {what}: {shown}").unwrap();
    match &step.container {
        Container::Image(image) => line("container", shown(image, context)),
        Container::Dockerfile(dockerfile) => line("dockerfile", format!("{dockerfile:?}")),
    }
    match &step.action {
        Action::Script(script) => line("run", shown(script, context)),
        other => line("run", format!("{other:?}")),
    }
    step.env.iter().for_each(|(name, value)| line("env", format!("{name} = {}", shown(value, context))));
    step.secrets.iter().for_each(|name| line("secret", name.to_string()));
    step.files
        .iter()
        .for_each(|(path, content)| line("file", format!("{path} = {}", shown(content, context))));
    step.mounts.iter().for_each(|mount| line("mount", format!("{} at {}", mount.path, mount.mountpoint)));
    step.cache_dirs.iter().for_each(|folder| line("kept", folder.clone()));
    step.timeout.iter().for_each(|timeout| line("timeout", format!("{timeout:?}")));
    let mut result = StepResult { stdout: STDOUT.to_owned(), ..StepResult::default() };
    result.changes.modified = CHANGED.iter().map(|path| (*path).to_owned()).collect();
    context.step = result.clone();
    let read: Vec<_> = step.outputs.iter().map(|output| (output, output.read(context))).collect();
    for (output, value) in read {
        match value {
            Ok(value) => {
                line("output", format!("{} = {value:?}", output.name));
                context.outputs.set(&output.name, value).unwrap();
            }
            Err(error) => line("output", error.to_string()),
        }
    }
    context.steps.changes = result.changes.clone();
    context.previous_step = result;
    text
}

fn shown(template: &Template, context: &Context) -> String {
    template.render(context).map_or_else(|error| format!("fails: {error}"), |text| format!("{text:?}"))
}

fn changesets(definition: &Definition, context: &Context) -> String {
    let Some(template) = &definition.changeset_template else { return "  no changesets\n".to_owned() };
    let base = "refs/heads/main".parse().unwrap();
    let paths = CHANGED.iter().copied();
    match template.render_shares(&definition.transform_changes, (context, &base), paths) {
        Err(error) => format!("  no changesets: {error}\n"),
        Ok(shares) => {
            let mut text = String::new();
            for Share { changeset, paths } in shares {
                let paths: Vec<&str> = paths.iter().map(|at| CHANGED[*at]).collect();
                let Changeset { title, body, branch, message, author, fork, publication } = changeset;
                writeln!(text, "  changeset {branch} of {}", paths.join(", ")).unwrap();
                writeln!(text, "    {title:?}, {message:?}, by {author:?}, fork {fork:?}, {publication:?}")
                    .unwrap();
                if !body.is_empty() {
                    writeln!(text, "    {body:?}").unwrap();
                }
            }
            text
        }
    }
}
