//! Changesets as they are rendered for a job.

use events::document::Publication;
use spec::{Changeset, ChangesetAuthor, ChangesetTemplate, Context, RenderError, RenderFault};

use crate::given::{accepted, batch};

#[test]
fn the_fields_are_rendered_and_trimmed() {
    let changeset = rendered(
        "title: '  ${{ repository.name }} '\nbody: |\n\n  A body.\n\n\
         branch: |\n  ${{ if true }}\n  refs/heads/a/b\n  ${{ end }}\n\
         fork: true\ncommit: { message: \"m\\n\", author: { name: ' Anna ', email: anna@example.org } }\n\
         published: draft\n",
    );
    let expected = Changeset {
        title: "example/one".to_owned(),
        body: "A body.".to_owned(),
        branch: "refs/heads/a/b".parse().unwrap(),
        message: "m".to_owned(),
        author: Some(ChangesetAuthor { name: "Anna".to_owned(), email: "anna@example.org".to_owned() }),
        fork: Some(true),
        publication: Publication::Draft,
    };
    assert_eq!(changeset, Ok(expected));
}

#[test]
fn a_branch_is_one_that_git_accepts_and_not_the_base() {
    let branch = |text: &str| {
        rendered(&format!("title: t\nbranch: {text}\ncommit: {{ message: m }}"))
            .map(|changeset| changeset.branch)
    };
    let name = "\"${{ repository.name }}\"";
    assert_eq!(branch(name), Ok("refs/heads/example/one".parse().unwrap()));
    let failed = branch("\"${{ repository.name }} x\"").unwrap_err();
    assert_eq!(failed.fault, RenderFault::BadBranch { name: "example/one x".to_owned() });
    for base in ["\"${{ repository.branch }}\"", "main", "refs/heads/main", "\"refs/heads/${{ `main` }}\""] {
        let failed = branch(base).unwrap_err();
        assert_eq!(failed.fault, RenderFault::BaseBranch { name: "main".to_owned() }, "{base}");
    }
}

#[test]
fn an_error_names_the_field_and_its_place_in_the_file() {
    let template = template("title: t\nbranch: b\ncommit:\n  message: x${{ index repository.name 99 }}");
    let failed = template.render(&context(), &"refs/heads/main".parse().unwrap()).unwrap_err();
    let expected = RenderError {
        field: "changesetTemplate.commit.message".to_owned(),
        line: 6,
        column: 19,
        fault: RenderFault::OutOfRange { function: "index", index: 99, length: 11 },
    };
    assert_eq!(failed, expected);
    assert_eq!(
        failed.to_string(),
        "changesetTemplate.commit.message, line 6, column 19: `index`: 99 is out of range for a length of 11"
    );
}

#[test]
fn what_renders_to_nothing_is_refused_where_something_must_be_said() {
    let nothing = "\" ${{ if false }}x${{ end }} \"";
    for (field, text) in [
        ("title", format!("title: {nothing}\nbranch: b\ncommit: {{ message: m }}")),
        ("branch", format!("title: t\nbranch: {nothing}\ncommit: {{ message: m }}")),
        ("commit.message", format!("title: t\nbranch: b\ncommit: {{ message: {nothing} }}")),
        (
            "commit.author.email",
            format!("title: t\nbranch: b\ncommit: {{ message: m, author: {{ name: n, email: {nothing} }} }}"),
        ),
    ] {
        let failed = rendered(&text).unwrap_err();
        assert_eq!((failed.field, failed.fault), (format!("changesetTemplate.{field}"), RenderFault::Empty));
    }
    let body = rendered(&format!("title: t\nbody: {nothing}\nbranch: b\ncommit: {{ message: m }}"));
    assert_eq!(body.map(|changeset| changeset.body), Ok(String::new()));
}

#[test]
fn an_author_cannot_end_the_line() {
    let author = "author: { name: \"${{ printf `a\\nb` }}\", email: \"e${{ `>` }}\" }";
    let failed = rendered(&format!("title: t\nbranch: b\ncommit: {{ message: m, {author} }}")).unwrap_err();
    assert_eq!(failed.fault, RenderFault::BadAuthor { text: "a…".to_owned() });
}

#[test]
fn the_last_rule_that_matches_decides_what_is_published() {
    let published = |rules: &str| {
        let text = format!("title: t\nbranch: b/1\ncommit: {{ message: m }}\npublished: [{rules}]");
        rendered(&text).unwrap().publication
    };
    assert_eq!(published(""), Publication::Undecided);
    assert_eq!(published("'*': true, example/*: draft"), Publication::Draft);
    assert_eq!(published("example/one: true, other/*: draft"), Publication::Published);
    assert_eq!(published("'*': true, '*@b/1': false"), Publication::Unpublished);
    assert_eq!(published("'*': true, '*@refs/heads/b/1': false"), Publication::Unpublished);
    assert_eq!(published("'*': true, '*@b': false"), Publication::Published);
    assert_eq!(published("'*': true, exam?le/one: null"), Publication::Undecided);
    assert_eq!(published("one: true"), Publication::Undecided);
}

fn rendered(text: &str) -> Result<Changeset, RenderError> {
    template(text).render(&context(), &"refs/heads/main".parse().unwrap())
}

#[track_caller]
fn template(text: &str) -> ChangesetTemplate {
    let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!("name: n\nchangesetTemplate:\n{indented}");
    accepted(batch(&text)).changeset_template.unwrap()
}

fn context() -> Context {
    let mut context = Context::default();
    context.repository.name = "example/one".to_owned();
    context.repository.branch = "main".to_owned();
    context
}
