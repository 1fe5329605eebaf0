//! What a definition comes to: which steps run, what they hand on, where the workspaces are, and which changesets there
//! will be.

use std::time::{Duration, Instant};

use events::git::BranchRef;
use proptest::prelude::*;
use proptest::sample::select;
use spec::{
    BATCH_CHANGE_LINK, Decision, Definition, OutputError, OutputValue, Outputs, RenderFault, Share,
    WorkspaceRule, within,
};

use crate::given::batch;
use crate::language::{self, context};

/// A definition with this `if`, whether it gives warnings or not.
fn with_if(condition: &str) -> Definition {
    let quoted = serde_json::to_string(condition).unwrap();
    with_raw_if(&quoted)
}

fn with_raw_if(condition: &str) -> Definition {
    let text = format!(
        "name: batch\ndescription: What it is for\nsteps:\n  - run: x\n    container: c\n    outputs: {{ o: {{ value: v }} }}\n  \
         - run: y\n    container: c\n    if: {condition}\n\
         changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
    );
    batch(&text).unwrap_or_else(|found| panic!("{found}")).definition
}

fn decision(condition: &str) -> Decision {
    with_if(condition).steps[1].runs_statically(&context())
}

#[test]
fn a_step_runs_if_its_text_is_exactly_true() {
    for (condition, runs) in [
        ("true", true),
        (" true\n", true),
        ("${{ true }}", true),
        ("\n  ${{ eq previous_step.stdout \"out\\n\" }}\n", true),
        ("True", false),
        ("truetrue", false),
        ("1", false),
        ("", false),
        ("${{ previous_step.stdout }}", false),
        ("${{ if eq steps.path \"services/web\" }}true${{ end }}", true),
    ] {
        assert_eq!(with_if(condition).steps[1].runs(&context()), Ok(runs), "{condition}");
    }
    for (written, runs) in [("true", true), ("false", false), ("", true), ("~", true)] {
        assert_eq!(with_raw_if(written).steps[1].runs(&context()), Ok(runs), "{written}");
    }
    let failed =
        with_if("${{ index previous_step.modified_files 9 }}").steps[1].runs(&context()).unwrap_err();
    assert_eq!(failed.field, "steps[1].if");
}

#[test]
fn what_is_known_before_anything_runs_is_decided() {
    use Decision::{Decided, Later};
    for (condition, expected) in [
        ("true", Decided(true)),
        ("yes", Decided(false)),
        ("${{ eq repository.name \"example/one\" }}", Decided(true)),
        ("${{ ne repository.name \"example/one\" }}", Decided(false)),
        ("${{ matches repository.name \"example/*\" }}", Decided(true)),
        ("${{ not (matches repository.name \"*/two\") }}", Decided(true)),
        ("${{ eq batch_change.name \"batch\" }}", Decided(true)),
        ("${{ eq (replace repository.name \"/\" \"-\") \"example-one\" }}", Decided(true)),
        ("${{ eq (join (split repository.name \"/\") \"+\") \"example+one\" }}", Decided(true)),
        ("${{ eq (join_if \"\" repository.name batch_change.name) \"x\" }}", Decided(false)),
        ("${{ matches steps.path \"services/*\" }}", Decided(true)),
        ("${{ if eq repository.branch \"next\" }}true${{ end }}", Decided(false)),
        ("${{ eq (len repository.search_result_paths) 2 }}", Decided(true)),
        ("${{ $x := repository.name }}${{ eq $x \"example/one\" }}", Decided(true)),
        // What only a job knows.
        ("${{ eq previous_step.stdout \"out\\n\" }}", Later),
        ("${{ eq outputs.o \"v\" }}", Later),
        ("${{ index outputs \"o\" }}", Later),
        ("${{ steps.modified_files }}", Later),
        ("${{ if steps.modified_files }}true${{ end }}", Later),
        ("${{ range steps.added_files }}true${{ end }}", Later),
        ("${{ not previous_step.stdout }}", Later),
        ("${{ with previous_step }}${{ .stdout }}${{ end }}", Later),
        // A known operand decides.
        ("${{ and false previous_step.stdout }}", Decided(false)),
        ("${{ and previous_step.stdout false }}", Decided(false)),
        ("${{ and previous_step.stdout \"\" outputs.o }}", Decided(false)),
        ("${{ or true previous_step.stdout }}", Decided(true)),
        ("${{ or (eq previous_step.stdout \"x\") true }}", Decided(true)),
        ("${{ and (eq previous_step.stdout \"x\") false }}", Decided(false)),
        ("${{ not (and previous_step.stdout false) }}", Decided(true)),
        ("${{ if and previous_step.stdout false }}x${{ else }}true${{ end }}", Decided(true)),
        ("${{ false | and previous_step.stdout }}", Decided(false)),
        // The first operand may be printed, and may print anything that counts as true.
        ("${{ or previous_step.stdout true }}", Later),
        ("${{ or previous_step.stdout false }}", Later),
        ("${{ and true previous_step.stdout }}", Later),
        ("${{ and (eq previous_step.stdout \"x\") true }}", Later),
        ("${{ or (and previous_step.stdout false) (eq outputs.o \"x\") }}", Later),
        // What is printed may be nothing, so that what stands beside it counts.
        ("tr${{ and previous_step.stdout false }}ue", Later),
        // A fault is for the job to show.
        ("${{ index (split repository.name \"/\") 9 }}", Later),
    ] {
        assert_eq!(decision(condition), expected, "{condition}");
    }
}

#[test]
fn a_workspace_has_the_steps_that_may_run_there() {
    let definition = with_if("${{ eq repository.name \"example/two\" }}");
    assert_eq!(definition.steps_in(&context()), [0]);
    let mut two = context();
    two.repository.name = "example/two".to_owned();
    assert_eq!(definition.steps_in(&two), [0, 1]);
}

/// Parts of conditions: known ones, and ones that only a job knows.
const OPERANDS: &[&str] = &[
    "true",
    "false",
    "\"\"",
    "\"true\"",
    "repository.name",
    "steps.path",
    "previous_step.stdout",
    "previous_step.stderr",
    "steps.deleted_files",
    "outputs.o",
    "(eq previous_step.stdout \"true\")",
    "(eq outputs.o repository.name)",
    "(not previous_step.stderr)",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_decided_early_is_what_would_be_decided_late(
        (outer, inner) in (select(&["and", "or", "eq", "print", "not (and", "not (or", "not (eq"][..]), select(&["and", "or", "eq"][..])),
        operands in prop::collection::vec(select(OPERANDS), 4),
        (around, stdout) in (select(&["", " ", "true", "${{ if false }}x${{ end }}"][..]), select(&["", "true", "false", "x"][..])),
        (stderr, output) in (select(&["", "true"][..]), select(&["", "true", "example/one"][..])),
    ) {
        let [a, b, c, d] = &operands[..] else { unreachable!() };
        let close = if outer.starts_with("not") { ")" } else { "" };
        let definition = with_if(&format!("${{{{ {outer} {a} ({inner} {b} {c}) {d}{close} }}}}{around}"));
        let step = &definition.steps[1];
        let mut late = context();
        late.previous_step.stdout = stdout.to_owned();
        late.previous_step.stderr = stderr.to_owned();
        late.outputs.set("o", OutputValue::Text(output.to_owned())).unwrap();
        // What fails late was not decided early, or by an operand that stands before it.
        if let (Decision::Decided(early), Ok(late)) = (step.runs_statically(&late), step.runs(&late)) {
            prop_assert_eq!(early, late);
        }
    }

    #[test]
    fn outputs_of_any_text_are_read_or_refused(text in any::<String>(), format in select(&["text", "json", "yaml"][..])) {
        let mut context = context();
        context.step.stdout = text;
        let definition = with_output("${{ step.stdout }}", format);
        if let Ok(value) = definition.steps[0].outputs[0].read(&context) {
            let mut outputs = Outputs::default();
            outputs.set("o", value).unwrap();
            let carried: Outputs = serde_json::from_str(&serde_json::to_string(&outputs).unwrap()).unwrap();
            prop_assert_eq!(carried, outputs);
        }
    }

    #[test]
    fn a_file_goes_to_the_last_group_that_holds_it(
        groups in prop::collection::vec(("[ab.](/[ab]){0,3}", prop::option::of(select(&["r", "s"][..]))), 0..12),
        path in "[ab](/[abc]){0,4}",
    ) {
        let items: String = groups.iter().enumerate().map(|(number, (directory, repository))| {
            let repository = repository.map(|name| format!(", repository: {name}")).unwrap_or_default();
            format!("{{ directory: {directory}, branch: g{number}{repository} }},")
        }).collect();
        let definition = batch(&format!("name: n\ntransformChanges: {{ group: [{items}] }}")).unwrap().definition;
        let fits = |directory: &str| within(directory.trim_start_matches("./").trim_matches('.'), &path);
        let expected = groups.iter().enumerate().rev().find(|(_, (directory, repository))| {
            fits(directory) && repository.is_none_or(|repository| repository == "r")
        });
        let found = definition.transform_changes.group_of("r", &path);
        prop_assert_eq!(found.map(|group| group.branch.short().to_owned()), expected.map(|(number, _)| format!("g{number}")));
    }
}

fn with_output(value: &str, format: &str) -> Definition {
    let quoted = serde_json::to_string(value).unwrap();
    let text = format!(
        "name: n\nsteps:\n  - run: x\n    container: c\n    outputs: {{ o: {{ value: {quoted}, format: {format} }} }}\n  \
         - run: y\n    container: c\n    env: {{ T: 'x' }}\n\
         changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
    );
    batch(&text).unwrap_or_else(|found| panic!("{found}")).definition
}

#[track_caller]
fn read(text: &str, format: &str) -> Result<OutputValue, OutputError> {
    let mut context = context();
    context.step.stdout = text.to_owned();
    with_output("${{ step.stdout }}", format).steps[0].outputs[0].read(&context)
}

/// Renders a template of a step behind one with the output `o`.
#[track_caller]
fn render(template: &str, value: OutputValue) -> Result<String, RenderFault> {
    let quoted = serde_json::to_string(template).unwrap();
    let text = format!(
        "name: n\nsteps:\n  - run: x\n    container: c\n    outputs: {{ o: {{ value: v }} }}\n  \
         - run: {quoted}\n    container: c\n\
         changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
    );
    let definition = batch(&text).unwrap_or_else(|found| panic!("{found}")).definition;
    let spec::Action::Script(run) = &definition.steps[1].action else { panic!("a script") };
    let mut context = context();
    context.outputs.set("o", value).unwrap();
    run.render(&context).map_err(|error| error.fault)
}

#[test]
fn outputs_are_read_by_their_format() {
    let text = |text: &str| OutputValue::Text(text.to_owned());
    assert_eq!(read(" as it is\n", "text"), Ok(text(" as it is\n")));
    assert_eq!(
        read("{\"a\": [1, 2.5, \"x\", null, true]}", "json").unwrap(),
        read("a: [1, 2.5, x, ~, true]", "yaml").unwrap()
    );
    for (written, expected) in [
        ("1", OutputValue::Integer(1)),
        ("-0.5", OutputValue::Float(-0.5)),
        ("0x1f", OutputValue::Integer(31)),
        (".inf", text(".inf")),
        ("99999999999999999999", OutputValue::Float(1e20)),
        ("", OutputValue::Null),
        ("yes", text("yes")),
    ] {
        assert_eq!(read(written, "yaml"), Ok(expected), "{written}");
    }
    let failed = read("{\n \"a\": \n}", "json").unwrap_err();
    let OutputError::Unreadable { name, format, line, .. } = &failed else { panic!("{failed}") };
    assert_eq!((name.as_str(), *format, *line), ("o", "JSON", 3));
    assert!(matches!(read("a: b: c", "yaml"), Err(OutputError::Unreadable { .. })));
    assert!(matches!(read("a: 1\na: 2", "yaml"), Err(OutputError::Unreadable { .. })));
}

#[test]
fn outputs_nest_in_templates() {
    let value = || {
        read("{\"list\": [\"a\", \"b\", 3], \"map\": {\"y\": 2, \"x\": {\"deep\": true}}, \"n\": null, \"f\": 12345678}", "json").unwrap()
    };
    for (template, expected) in [
        ("${{ outputs.o.map.x.deep }} ${{ outputs.o.map.y }}", "true 2"),
        ("${{ index outputs.o.list 1 }} ${{ index outputs.o \"map\" \"y\" }}", "b 2"),
        ("${{ index outputs \"o\" \"f\" }}", "12345678"),
        ("${{ outputs.o.list }} ${{ outputs.o.map }}", "[a b 3] map[x:map[deep:true] y:2]"),
        ("${{ join outputs.o.list \"+\" }} ${{ len outputs.o.list }} ${{ len outputs.o }}", "a+b+3 3 4"),
        ("${{ range $i, $x := outputs.o.list }}${{ $i }}${{ $x }} ${{ end }}", "0a 1b 23 "),
        ("${{ range $key, $x := outputs.o.map }}${{ $key }}=${{ $x }} ${{ end }}", "x=map[deep:true] y=2 "),
        ("${{ range outputs.o.map }}.${{ end }}${{ range outputs.o.n }}x${{ else }}none${{ end }}", "..none"),
        ("${{ if eq outputs.o.map.y 2 }}two${{ end }}${{ outputs.o.n }}", "two<no value>"),
        (
            "${{ slice outputs.o.list 1 2 }} ${{ printf \"%v %s\" outputs.o.list (index outputs.o.list 0) }}",
            "[b] [a b 3] a",
        ),
        ("${{ with outputs.o.map }}${{ .y }}${{ end }}${{ if outputs.o.list }}!${{ end }}", "2!"),
    ] {
        assert_eq!(render(template, value()).as_deref(), Ok(expected), "{template}");
    }
    let missing = |of, field: &str| RenderFault::NoField { of, field: field.to_owned() };
    for (template, fault) in [
        ("${{ outputs.o.nothing }}", missing("a map", "nothing")),
        ("${{ outputs.o.map.y.z }}", missing("an integer", "z")),
        ("${{ index outputs \"other\" }}", missing("a map", "other")),
        (
            "${{ eq outputs.o.list \"a\" }}",
            RenderFault::Incomparable { function: "eq", left: "a list", right: "text" },
        ),
    ] {
        assert_eq!(render(template, value()), Err(fault), "{template}");
    }
}

#[test]
fn later_outputs_take_the_place_of_earlier_ones_and_all_are_bounded() {
    let mut outputs = Outputs::default();
    outputs.set("a", OutputValue::Text("first".to_owned())).unwrap();
    outputs.set("a", OutputValue::Text("second".to_owned())).unwrap();
    assert_eq!(outputs.as_map()["a"], OutputValue::Text("second".to_owned()));
    let large = |bytes: usize| OutputValue::Text("x".repeat(bytes));
    outputs.set("b", large(Outputs::MAX_BYTES - 100)).unwrap();
    let refused = outputs.set("c", large(100)).unwrap_err();
    assert!(matches!(refused, OutputError::TooLarge { name, .. } if name == "c"));
    assert_eq!(outputs.as_map().len(), 2);
    outputs.set("b", large(1)).unwrap();
    outputs.set("c", large(100)).unwrap();
}

#[test]
fn an_output_of_a_step_that_did_not_run_is_missing_by_its_name() {
    let definition = with_if("${{ outputs.o }}");
    let failed = definition.steps[1].runs(&context()).unwrap_err();
    assert_eq!(failed.fault, RenderFault::NoField { of: "outputs", field: "o".to_owned() });
}

#[test]
fn the_link_stands_for_itself_until_it_is_known() {
    let text = "name: n\nchangesetTemplate: { title: t, branch: b, commit: { message: m }, body: 'See ${{ batch_change_link }}.' }";
    let template = batch(text).unwrap().definition.changeset_template.unwrap();
    let mut context = context();
    context.batch_change_link = BATCH_CHANGE_LINK.to_owned();
    let planned = template.render(&context, &branch("main")).unwrap();
    assert_eq!(planned.body, "See ${{ batch_change_link }}.");
}

fn workspaces(text: &str) -> Vec<WorkspaceRule> {
    batch(&format!("name: n\nworkspaces: {text}")).unwrap().definition.workspaces
}

#[test]
fn each_folder_that_holds_the_file_is_a_root() {
    let rules = workspaces("[{ rootAtLocationOf: package.json }]");
    let rule = WorkspaceRule::find(&rules, "any/where/at/all").unwrap().unwrap();
    let files = [
        "README.md",
        "web/package.json",
        "package.json",
        "web/a/b/package.json",
        "x/my-package.json",
        "package.json/y",
    ];
    let roots: Vec<_> = rule.roots(files).into_iter().collect();
    assert_eq!(roots, ["", "web", "web/a/b"]);
    assert!(rule.roots(["README.md"]).is_empty());
    assert!(rule.without_roots().contains("`package.json`"));
}

#[test]
fn one_entry_at_most_holds_for_a_repository() {
    let rules = workspaces(
        "[{ rootAtLocationOf: go.mod, in: github.com/go/*, onlyFetchWorkspace: true }, \
         { rootAtLocationOf: package.json, in: '*/web*' }]",
    );
    let found = |name| {
        WorkspaceRule::find(&rules, name).map(|rule| rule.map(|rule| rule.root_at_location_of.as_str()))
    };
    assert_eq!(found("github.com/go/deep/er/one"), Ok(Some("go.mod")));
    assert_eq!(found("example.org/website"), Ok(Some("package.json")));
    assert_eq!(found("example.org/other"), Ok(None));
    let both = found("github.com/go/web").unwrap_err();
    assert_eq!((both.first, both.second, both.repository.as_str()), (1, 2, "github.com/go/web"));
    assert!(rules[0].only_fetch_workspace && !rules[1].only_fetch_workspace);
}

#[test]
fn a_path_lies_in_a_root_by_whole_segments() {
    for (root, path, expected) in [
        ("", "a", true),
        ("a/b", "a/b/c", true),
        ("a/b", "a/b", true),
        ("a/b", "a/bc", false),
        ("a/b", "a", false),
    ] {
        assert_eq!(within(root, path), expected, "{root} {path}");
    }
}

#[test]
fn a_hundred_thousand_files_are_looked_at_in_no_time() {
    let files: Vec<String> =
        (0..100_000).map(|n| format!("services/s{}/src/deep/er/file{n}.rs", n % 300)).collect();
    let manifests: Vec<String> = (0..300).map(|n| format!("services/s{n}/Cargo.toml")).collect();
    let rules = workspaces("[{ rootAtLocationOf: Cargo.toml }]");
    let started = Instant::now();
    let roots = rules[0].roots(files.iter().chain(&manifests).map(String::as_str));
    assert_eq!(roots.len(), 300);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

fn branch(name: &str) -> BranchRef {
    format!("refs/heads/{name}").parse().unwrap()
}

/// The branches that the changesets of a job get, each with its paths.
fn shares(groups: &str, own: &str, paths: &[&str]) -> Result<Vec<(String, Vec<String>)>, RenderFault> {
    let text = format!(
        "name: n\ntransformChanges: {{ group: [{groups}] }}\n\
         changesetTemplate:\n  title: ${{{{ repository.name }}}}\n  branch: {own}\n  commit: {{ message: m }}\n  \
         published: ['*': draft, '*@web': true]\n"
    );
    let definition = batch(&text).unwrap_or_else(|found| panic!("{found}")).definition;
    let template = definition.changeset_template.unwrap();
    let base = branch("main");
    let shares =
        template.render_shares(&definition.transform_changes, (&context(), &base), paths.iter().copied());
    let shown = |share: Share| {
        let expected = if share.changeset.branch.short() == "web" {
            events::document::Publication::Published
        } else {
            events::document::Publication::Draft
        };
        assert_eq!((share.changeset.publication, share.changeset.title.as_str()), (expected, "example/one"));
        (
            share.changeset.branch.short().to_owned(),
            share.paths.iter().map(|at| paths[*at].to_owned()).collect(),
        )
    };
    shares.map(|shares| shares.into_iter().map(shown).collect()).map_err(|error| error.fault)
}

#[test]
fn each_branch_that_gets_a_file_gets_a_changeset() {
    let groups = "{ directory: services, branch: services }, { directory: services/web/, branch: web }, \
                  { directory: docs, branch: docs, repository: example/one }, { directory: docs, branch: other, repository: example/two }";
    let owned = |items: &[(&str, &[&str])]| -> Vec<(String, Vec<String>)> {
        items
            .iter()
            .map(|(branch, paths)| {
                ((*branch).to_owned(), paths.iter().map(|&path| path.to_owned()).collect())
            })
            .collect()
    };
    let found = shares(
        groups,
        "own",
        &["README.md", "services/api/a", "services/web/b", "services/webs/c", "docs/d", "docsx"],
    );
    assert_eq!(
        found.unwrap(),
        owned(&[
            ("own", &["README.md", "docsx"]),
            ("services", &["services/api/a", "services/webs/c"]),
            ("web", &["services/web/b"]),
            ("docs", &["docs/d"]),
        ])
    );
    assert_eq!(
        shares(groups, "own", &["services/web/b"]).unwrap(),
        owned(&[("web", &["services/web/b"])]),
        "none for the template's branch"
    );
    assert_eq!(shares(groups, "own", &[]).unwrap(), [], "an empty diff makes no changeset");
}

#[test]
fn the_last_directory_counts_even_if_it_is_the_wider_one() {
    let text =
        "name: n\ntransformChanges: { group: [{ directory: a/b, branch: x }, { directory: a, branch: y }] }";
    let definition = batch(text).unwrap().definition;
    assert_eq!(definition.transform_changes.group_of("r", "a/b/c").unwrap().branch.short(), "y");
}

#[test]
fn rendered_branches_are_held_against_the_groups() {
    let refused = |groups: &str, own: &str| shares(groups, own, &["x"]).unwrap_err();
    for (groups, own) in [
        ("{ directory: a, branch: example/one }", "${{ repository.name }}"),
        ("{ directory: a, branch: refs/heads/example/one }", "refs/heads/${{ repository.name }}"),
        ("{ directory: a, branch: example }", "${{ repository.name }}"),
        ("{ directory: a, branch: example/one/deep }", "${{ repository.name }}"),
        ("{ directory: a, branch: example/one, repository: example/one }", "${{ repository.name }}"),
    ] {
        assert!(matches!(refused(groups, own), RenderFault::GroupBranch { .. }), "{groups}");
    }
    assert!(matches!(refused("{ directory: a, branch: main }", "own"), RenderFault::GroupBase { .. }));
    assert!(shares("{ directory: a, branch: main, repository: example/two }", "own", &["x"]).is_ok());
    assert!(shares("{ directory: a, branch: example-one }", "${{ repository.name }}", &["x"]).is_ok());
}

#[test]
fn five_thousand_groups_are_no_trouble() {
    let items: String =
        (0..5_000).map(|n| format!("    - {{ directory: services/s{n}, branch: batch/s{n} }}\n")).collect();
    let text = format!(
        "name: n\ntransformChanges:\n  group:\n{items}changesetTemplate: {{ title: t, branch: own, commit: {{ message: m }} }}\n"
    );
    let paths: Vec<String> = (0..5_000).map(|n| format!("services/s{n}/src/lib.rs")).collect();
    let started = Instant::now();
    let definition = batch(&text).unwrap_or_else(|found| panic!("{found}")).definition;
    let template = definition.changeset_template.unwrap();
    let shares = template
        .render_shares(
            &definition.transform_changes,
            (&language::context(), &branch("main")),
            paths.iter().map(String::as_str),
        )
        .unwrap();
    assert_eq!(shares.len(), 5_000);
    // Twenty times the goal: this is a debug build on a machine that does other things as well.
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    println!("5,000 groups: {:?}", started.elapsed());
}
