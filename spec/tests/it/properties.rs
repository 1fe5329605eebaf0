//! What holds for every text: reading and rendering end and never panic, and what is wrong is where it is said to be.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use spec::{Container, Definition, Diagnostic, Diagnostics, Given, Parsed, RenderFault};

use crate::given::{batch, legacy, named, read};
use crate::language;

/// Pieces that definitions are made of, whole and broken.
pub(crate) const PIECES: &[&str] = &[
    "name: n\n",
    "name",
    "steps:\n",
    "  - run: echo ${{ repository.name }}\n",
    "    container: c\n",
    "    env:\n      - A: a\n",
    "    files: { /a: b }\n",
    "changesetTemplate:\n",
    "  title: t\n",
    "  branch: |\n    b\n",
    "  commit: { message: m }\n",
    "  published:\n    - '*': draft\n",
    "on:\n",
    "  - repository: r\n",
    "workspaces: [{ rootAtLocationOf: f, in: '*' }]\n",
    "transformChanges: { group: [{ directory: a, branch: b }] }\n",
    "importChangesets: [{ repository: r, externalIDs: [1] }]\n",
    "    if: ${{ eq previous_step.stdout \"x\" }}\n",
    "    outputs: { o: { value: '${{ step.stdout }}', format: json } }\n",
    "patchwave: { timeout: 1h, limits: { memory: 1GiB, cpu: 0.5, pids: 99 } }\n",
    "    patchwave: { timeout: 1m }\n",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!str ",
    "? ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    "\\u00e9",
    "|\n",
    ">-\n",
    "#",
    "---\n",
    "...\n",
    "\t",
    "\r\n",
    "\n",
    "  ",
    "\u{feff}",
    "\u{0}",
    "é😀",
    "\u{202e}",
    "${{",
    "}}",
    "{\"scopeQuery\": \"q\", \"steps\": [",
    "{\"type\": \"docker\", \"image\": \"i\", \"args\": [\"a\"]}",
    "{\"type\": \"command\"}",
    "]}",
    "// c\n",
    "/* c */",
    "null",
    "true",
    "-1.5e3",
];

/// Pieces that templates are made of.
pub(crate) const TOKENS: &[&str] = &[
    "${{ ",
    " }}",
    "${{- ",
    " -}}",
    "}}",
    "${{/* ",
    " */}}",
    "if ",
    "else ",
    "end ",
    "range ",
    "with ",
    "break ",
    "continue ",
    "define ",
    "repository",
    "previous_step",
    "steps",
    "batch_change",
    "outputs",
    "outputs.o ",
    "step",
    "batch_change_link ",
    ".name",
    ".modified_files",
    ".x",
    ". ",
    "$ ",
    "$x ",
    "$y ",
    ":= ",
    "= ",
    ", ",
    "| ",
    "(",
    ") ",
    "\"a\" ",
    "`b` ",
    "'c' ",
    "\"",
    "`",
    "0 ",
    "3 ",
    "-1 ",
    "9223372036854775807 ",
    "1.5 ",
    "1e308 ",
    "0x",
    "true ",
    "nil ",
    "eq ",
    "ne ",
    "lt ",
    "and ",
    "or ",
    "not ",
    "len ",
    "index ",
    "slice ",
    "print ",
    "println ",
    "printf ",
    "\"%d %s %v %q %x\" ",
    "\"%[2]*.[1]*f\" ",
    "\"%999999d\" ",
    "join ",
    "split ",
    "replace ",
    "join_if ",
    "matches ",
    "\"[a-\" ",
    "\"{a,{b,c}}*?\" ",
    "é",
    "\n",
    " ",
    "text",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_to_the_end(text in any::<String>(), name in select(&["a.yaml", "a.json", "a"][..])) {
        check(read(name, &text, &Given::default()));
        check(read(name, &text, &named()));
    }

    #[test]
    fn any_row_of_pieces_is_read_to_the_end(pieces in prop::collection::vec(select(PIECES), 0..40)) {
        let text = pieces.concat();
        check(batch(&text));
        check(legacy(&text));
    }

    #[test]
    fn a_definition_with_something_changed_is_read_to_the_end(
        (at, length, piece) in (any::<Index>(), 0_usize..30, select(PIECES)),
    ) {
        check_changed(at, length, piece);
    }

    #[test]
    fn any_row_of_tokens_is_rendered_or_refused(tokens in prop::collection::vec(select(TOKENS), 0..30)) {
        rendered_or_refused(&tokens.concat());
    }

    #[test]
    fn any_action_is_rendered_or_refused(tokens in prop::collection::vec(select(TOKENS), 1..10)) {
        rendered_or_refused(&format!("${{{{ {} }}}}", tokens.concat()));
    }

    #[test]
    fn any_format_is_rendered(format in "[%#0+\\- \\[\\]*.0-9a-zA-Z]{0,12}", value in select(&["1", "-5", "1.5", "\"é\"", "true", "repository.search_result_paths"][..])) {
        let text = format!("${{{{ printf {format:?} {value} {value} }}}}");
        rendered_or_refused(&text);
    }

    #[test]
    fn a_mistake_is_where_it_is_said_to_be(before in "[^\\p{C}${}]{0,40}", breaks in prop::collection::vec(any::<Index>(), 0..4)) {
        let mut text: Vec<char> = before.chars().collect();
        breaks.iter().for_each(|at| text.insert(at.index(text.len() + 1), '\n'));
        let text: String = text.into_iter().collect();
        let mistake = "${{ mistake.x }}";
        let json = serde_json::to_string(&format!("{text}{mistake}")).unwrap();
        let block: String = format!("x{text}{mistake}").lines().map(|line| format!("    {line}\n")).collect();
        let folded = format!("'{}{mistake}'", text.replace('\'', "''").replace('\n', "\n\n   "));
        for written in [json, format!("|\n{block}"), format!(">-\n{block}"), folded] {
            let file = format!("name: n\ndescription: é\nsteps:\n - container: c\n   run: {written}\n");
            let found = batch(&file).unwrap_err();
            let Some(Diagnostic { line, column, .. }) =
                found.as_slice().iter().find(|found| found.message.contains("mistake")) else {
                    // What YAML does not take in this form has no template to be wrong.
                    prop_assert!(found.as_slice()[0].code == spec::Code::InvalidYaml, "{file}\n{found}");
                    continue;
                };
            let shown: String = file.split('\n').nth(*line as usize - 1).unwrap().chars().skip(*column as usize - 1).collect();
            prop_assert!(shown.starts_with("mistake"), "{file}\n{found}");
        }
    }

    #[test]
    fn json_means_the_same_as_yaml(args in prop::collection::vec("[^\\p{C}]{0,20}", 1..5)) {
        let args = serde_json::to_string(&args).unwrap();
        let text = format!("{{\"scopeQuery\": \"q\", \"steps\": [{{\"type\": \"command\", \"args\": {args}}}]}}");
        let json = read("a.json", &text, &named()).unwrap();
        let yaml = read("a.yaml", &text, &named()).unwrap();
        prop_assert_eq!(json, yaml);
    }

    #[test]
    fn a_text_without_actions_is_printed_as_it_is(text in "[^\\p{C}]{0,60}") {
        prop_assume!(!text.contains("${{"));
        prop_assert_eq!(language::template(&text).render(&language::context()), Ok(text));
    }
}

#[test]
fn the_worst_texts_end_soon() {
    let long = "x".repeat(100_000);
    let texts = [
        "- ".repeat(200_000),
        "[".repeat(400_000),
        "{a: ".repeat(100_000),
        format!("name: n\ndescription: \"{}", "\\u00e9".repeat(80_000)),
        format!("name: n\nsteps:\n{}", " - {run: x, container: c, env: {A: '${{ x }}'}}\n".repeat(10_000)),
        format!("name: n\nsteps: [{}]", "{run: '${{ 1 }}', container: c},".repeat(15_000)),
        format!("name: n\nsteps:\n - &a {{ {long}: 1 }}\n{}", " - *a\n".repeat(60_000)),
        format!(
            "name: n\nsteps:\n - &a {{ run: \"{} ${{{{ x }}}}\", container: c }}\n{}",
            long,
            " - *a\n".repeat(100)
        ),
        format!("name: n\nsteps:\n - {{ run: \"{}\", container: c }}\n", "${{ if true }}".repeat(30_000)),
        format!("name: n\nsteps:\n - {{ run: \"{}\", container: c }}\n", "${{ 1 }}".repeat(60_000)),
        format!("name: n\nsteps:\n - {{ run: \"${{{{ {} }}}}\", container: c }}\n", "(".repeat(200_000)),
        format!(
            "name: n\nsteps:\n - {{ run: \"${{{{ print {} }}}}\", container: c }}\n",
            "1 ".repeat(200_000)
        ),
        format!(
            "name: n\nchangesetTemplate: {{ published: [{}] }}",
            "{ '{a,{b,c}}*': true },".repeat(20_000)
        ),
        format!(
            "name: n\non: [{{ repository: r, branches: [{}] }}]",
            (0..60_000).map(|n| format!("b{n},")).collect::<String>()
        ),
        format!("name: n\nsteps: [{{ run: '${{{{ {long} }}}}', container: '${{{{ {long}.x }}}}' }}]"),
        format!("name: n\nsteps: [{{ run: '${{{{ \"\".{long} }}}}', container: '${{{{ {long}+ }}}}' }}]"),
        format!("name: !{long} n"),
        format!("name: *{long}"),
        format!("{{\"{long}\": 1, \"{long}\": 2, \"type\": {long} }}"),
        (0..60_000).map(|n| format!("k{n}: &k{n} v\n")).collect(),
        format!(
            "{{\"scopeQuery\": \"q\", \"steps\": [{}]}}",
            "{\"type\": \"docker\", \"x\": 1},".repeat(15_000)
        ),
        format!("{{\"scopeQuery\": {}", "[".repeat(400_000)),
    ];
    for text in texts {
        let started = Instant::now();
        check(batch(&text));
        check(legacy(&text));
        // Ten times what the slowest takes in a debug build on one slow core.
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}: {}", started.elapsed(), &text[..60]);
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    let found = batch(&format!("name: n\n{}", "# x\n".repeat(200_000))).unwrap_err();
    assert_eq!(found.as_slice()[0].code, spec::Code::TooLarge);
}

#[test]
fn a_given_text_that_is_too_large_is_refused() {
    let given = Given { body: Some("x".repeat(100_000)), ..named() };
    let found = read("action.json", crate::legacy::WHOLE, &given).unwrap_err();
    let shown: Vec<_> = found.as_slice().iter().map(|found| (found.code, found.file.as_str())).collect();
    assert_eq!(shown, [(spec::Code::TooLarge, "given body")]);
}

#[test]
fn only_so_many_mistakes_are_shown() {
    let found = batch(&(0..150).map(|n| format!("key{n}: v\n")).collect::<String>()).unwrap_err();
    assert_eq!((found.as_slice().len(), found.omitted()), (100, 51));
    assert!(found.to_string().ends_with("\n\nand 51 more"));
}

fn wholes() -> [(&'static str, &'static str, Given); 3] {
    [
        ("a.batch.yaml", crate::definitions::WHOLE, Given::default()),
        ("action.json", crate::legacy::WHOLE, named()),
        ("action.yaml", crate::legacy::WHOLE_IN_YAML, named()),
    ]
}

/// Whole definitions in which this many characters from a place on are something else.
pub(crate) fn check_changed(at: Index, length: usize, piece: &str) {
    for (name, text, given) in wholes() {
        let mut chars: Vec<char> = text.chars().collect();
        let start = at.index(chars.len());
        let end = (start + length).min(chars.len());
        chars.splice(start..end, piece.chars());
        check(read(name, &chars.into_iter().collect::<String>(), &given));
    }
}

/// Checks what holds of everything that is said about a text, and renders what was accepted.
pub(crate) fn check(read: Result<Parsed, Diagnostics>) {
    match read {
        Ok(parsed) => {
            parsed.warnings.iter().for_each(check_diagnostic);
            render_all(&parsed.definition);
        }
        Err(found) => {
            assert!(!found.as_slice().is_empty());
            found.as_slice().iter().for_each(check_diagnostic);
            assert!(!found.to_string().is_empty());
        }
    }
}

fn check_diagnostic(found: &Diagnostic) {
    let Diagnostic { line, column, length, excerpt, excerpt_offset, .. } = found;
    assert!(*line > 0 && *column > 0 && *length > 0, "{found:?}");
    assert!(found.hint.is_some(), "no hint: {found:?}");
    let shown = excerpt.chars().count();
    assert!(shown <= 130, "{found:?}");
    assert!((excerpt_offset + length) as usize <= shown + 1, "{found:?}");
    for text in [&found.message, &found.file, excerpt].into_iter().chain(&found.hint) {
        assert!(text.chars().all(|c| !c.is_control()), "{found:?}");
        assert!(text.chars().count() < 400, "{found:?}");
    }
}

fn render_all(definition: &Definition) {
    let context = language::context();
    for step in &definition.steps {
        if let Container::Image(image) = &step.container {
            let _ = image.render(&context);
        }
        for (_, template) in step.env.iter().chain(&step.files) {
            let _ = template.render(&context);
        }
        let _ = step.runs(&context);
        step.runs_statically(&context);
        step.outputs.iter().for_each(|output| drop(output.read(&context)));
    }
    if let Some(template) = &definition.changeset_template {
        let base = "refs/heads/main".parse().unwrap();
        let _ = template.render_shares(&definition.transform_changes, (&context, &base), ["a/b", "c"]);
    }
}

pub(crate) fn rendered_or_refused(template: &str) {
    let quoted = serde_json::to_string(template).unwrap();
    let text = format!(
        "name: n\nsteps: [{{ run: x, container: c, env: {{ T: {quoted} }} }}]\n\
         changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
    );
    match batch(&text) {
        Err(found) => found.as_slice().iter().for_each(check_diagnostic),
        Ok(parsed) => match parsed.definition.steps[0].env[0].1.render(&language::context()) {
            Ok(rendered) => assert!(rendered.len() <= 4 << 20),
            Err(error) => {
                assert!((4..=5).contains(&error.line) || error.line == 2, "{error}");
                assert!(!matches!(error.fault, RenderFault::Empty));
            }
        },
    }
}
