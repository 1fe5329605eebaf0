//! The template language: what templates print, as Go's text/template does, and what they cannot do.

use spec::{Context, RenderFault, Template};

use crate::given::{accepted, batch};

/// Renders a template in a step for [`context`].
#[track_caller]
fn render(text: &str) -> Result<String, RenderFault> {
    template(text).render(&context()).map_err(|error| error.fault)
}

/// The template of a step.
#[track_caller]
pub(crate) fn template(text: &str) -> Template {
    // A text of JSON is one of YAML too.
    let quoted = serde_json::to_string(text).unwrap();
    let text = format!(
        "name: n\nsteps: [{{ run: x, container: c, env: {{ T: {quoted} }} }}]\n\
         changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
    );
    accepted(batch(&text)).steps.remove(0).env.remove(0).1
}

#[track_caller]
fn prints(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(render(text).as_deref(), Ok(*expected), "{text}");
    }
}

pub(crate) fn context() -> Context {
    let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    let mut context = Context::default();
    context.repository.name = "example/one".to_owned();
    context.repository.branch = "main".to_owned();
    context.repository.search_result_paths = list(&["README.md", "docs/a.md"]);
    context.batch_change.name = "batch".to_owned();
    context.batch_change.description = "What it is for".to_owned();
    context.previous_step.stdout = "out\n".to_owned();
    context.previous_step.stderr = "err\n".to_owned();
    context.previous_step.changes.modified = list(&["m1", "m2", "m3"]);
    context.previous_step.changes.added = list(&["a1"]);
    context.previous_step.changes.renamed = list(&["r1"]);
    context.batch_change_link = "https://example.org/batch".to_owned();
    context.steps.path = "services/web".to_owned();
    context.steps.changes.deleted = list(&["d1", "d2"]);
    context
}

#[test]
fn every_variable_has_its_value() {
    prints(&[
        ("${{ repository.name }} ${{ repository.branch }}", "example/one main"),
        ("${{ repository.search_result_paths }}", "README.md docs/a.md"),
        ("${{ batch_change.name }}: ${{ batch_change.description }}", "batch: What it is for"),
        ("${{ previous_step.stdout }}${{ previous_step.stderr }}", "out\nerr\n"),
        ("${{ previous_step.modified_files }} ${{ previous_step.added_files }}", "[m1 m2 m3] [a1]"),
        ("${{ previous_step.deleted_files }} ${{ previous_step.renamed_files }}", "[] [r1]"),
        (
            "${{ steps.path }} ${{ steps.deleted_files }} ${{ steps.modified_files }}",
            "services/web [d1 d2] []",
        ),
        ("${{ steps.added_files }}${{ steps.renamed_files }}", "[][]"),
    ]);
}

#[test]
fn only_an_action_is_not_text() {
    prints(&[
        ("", ""),
        ("plain {{ text }} $ { ${ } }}", "plain {{ text }} $ { ${ } }}"),
        ("${{repository.name}}", "example/one"),
        ("${{\trepository.name\n}}", "example/one"),
        ("${{ \"${{\" }}", "${{"),
        ("$${{ \"x\" }}}}", "$x}}"),
        ("a${{/* nothing */}}b", "ab"),
        ("a ${{- /* nothing */ -}} b", "ab"),
        ("a \n ${{- \" b \" -}} \t c", "a b c"),
        ("${{ -1 }}", "-1"),
        ("a ${{ -1 -}} b", "a -1b"),
        ("ünï ${{ \"çödé\" }} 😀", "ünï çödé 😀"),
    ]);
}

#[test]
fn literals_are_those_of_go() {
    prints(&[
        (r#"${{ "a\tb\"\\\u00e9\x41\101" }}"#, "a\tb\"\\éAA"),
        ("${{ `raw \\n \"x\"` }}", "raw \\n \"x\""),
        ("${{ 'x' }} ${{ '\\n' }}", "120 10"),
        ("${{ 42 }} ${{ -7 }} ${{ +7 }}", "42 -7 7"),
        ("${{ 0x1F }} ${{ 0b101 }} ${{ 0o17 }} ${{ 017 }} ${{ 1_000 }}", "31 5 15 15 1000"),
        ("${{ 1.5 }} ${{ .5 }} ${{ 1e3 }} ${{ 1e21 }} ${{ -0.25 }}", "1.5 0.5 1000 1e+21 -0.25"),
        ("${{ true }} ${{ false }}", "true false"),
    ]);
}

#[test]
fn conditions_follow_truth() {
    prints(&[
        ("${{ if eq repository.name \"example/one\" }}yes${{ else }}no${{ end }}", "yes"),
        ("${{ if false }}a${{ else if previous_step.deleted_files }}b${{ else }}c${{ end }}", "c"),
        ("${{ if \"\" }}a${{ else if 1 }}b${{ else if true }}c${{ end }}", "b"),
        ("${{ if 0 }}a${{ end }}${{ if 0.0 }}b${{ end }}${{ if repository }}c${{ end }}", "c"),
        ("${{ if and true \"x\" 1 }}a${{ end }}${{ if or false \"\" }}b${{ end }}", "a"),
        ("${{ if not previous_step.deleted_files }}none${{ end }}", "none"),
        ("${{ with previous_step.stdout }}${{ . }}${{ else }}none${{ end }}", "out\n"),
        ("${{ with \"\" }}a${{ else with \"b\" }}${{ . }}${{ end }}", "b"),
        ("${{ with repository }}${{ .name }}${{ end }}", "example/one"),
        ("${{ if $x := steps.path }}${{ $x }}${{ end }}", "services/web"),
    ]);
}

#[test]
fn ranges_go_over_lists_and_numbers() {
    prints(&[
        ("${{ range previous_step.modified_files }}${{ . }};${{ end }}", "m1;m2;m3;"),
        ("${{ range $x := previous_step.modified_files }}${{ $x }}${{ end }}", "m1m2m3"),
        (
            "${{ range $i, $x := previous_step.modified_files }}${{ $i }}=${{ $x }} ${{ end }}",
            "0=m1 1=m2 2=m3 ",
        ),
        ("${{ range previous_step.deleted_files }}x${{ else }}none${{ end }}", "none"),
        ("${{ range 3 }}${{ . }}${{ end }}${{ range 0 }}x${{ end }}", "012"),
        ("${{ range $i, $x := 2 }}${{ $i }}${{ $x }} ${{ end }}", "00 11 "),
        (
            "${{ range 9 }}${{ if eq . 2 }}${{ continue }}${{ end }}${{ if gt . 4 }}${{ break }}${{ end }}${{ . }}${{ end }}",
            "0134",
        ),
        ("${{ range 2 }}${{ range 2 }}${{ . }}${{ break }}${{ end }}-${{ end }}", "0-0-"),
        ("${{ range split \"a b\" \" \" }}<${{ . }}>${{ end }}", "<a><b>"),
        (
            "${{ range $i, $x := split \"a b\" \" \" }}${{ range $j, $y := split \"c d\" \" \" }}${{ $x }}${{ $y }} ${{ end }}${{ end }}",
            "ac ad bc bd ",
        ),
    ]);
}

#[test]
fn variables_live_to_the_end_of_their_block() {
    prints(&[
        ("${{ $x := 1 }}${{ $x }}", "1"),
        ("${{ $x := 1 }}${{ if true }}${{ $x = 2 }}${{ end }}${{ $x }}", "2"),
        ("${{ $x := 1 }}${{ if true }}${{ $x := 2 }}${{ $x }}${{ end }}${{ $x }}", "21"),
        ("${{ $x := \"\" }}${{ range 3 }}${{ $x = print $x . }}${{ end }}${{ $x }}", "012"),
        ("${{ $r := repository }}${{ $r.name }}", "example/one"),
        ("${{ $x := split \"a,b\" \",\" }}${{ index $x 1 }}", "b"),
        ("${{ $x := 1 }}${{ ($x := 2) }}${{ $x }}", "22"),
    ]);
}

#[test]
fn calls_nest_by_parentheses_and_pipes() {
    prints(&[
        ("${{ repository.name | printf \"%s-%s\" \"a\" }}", "a-example/one"),
        ("${{ split \"a,b,c\" \",\" | len }}", "3"),
        ("${{ \"x\" | eq \"x\" | not }}", "false"),
        ("${{ index (split \"a,b,c\" \",\") 2 }}", "c"),
        ("${{ (split \"a,b\" \",\") }}", "[a b]"),
        ("${{ (repository).name }} ${{ ((1)) }}", "example/one 1"),
        ("${{ join (split (replace repository.name \"/\" \" \") \" \") \"+\" }}", "example+one"),
        ("${{ print }}${{ print (print) }}", ""),
    ]);
}

#[test]
fn functions_on_text_and_lists() {
    prints(&[
        (
            "${{ join previous_step.modified_files \", \" }}|${{ join previous_step.deleted_files \",\" }}",
            "m1, m2, m3|",
        ),
        ("${{ join repository.search_result_paths \"\\n\" }}", "README.md\ndocs/a.md"),
        (
            "${{ split \"a--b-c\" \"--\" }} ${{ split \"héy\" \"\" }} ${{ len (split \"\" \",\") }}",
            "[a b-c] [h é y] 1",
        ),
        ("${{ replace \"aXbX\" \"X\" \"--\" }} ${{ replace \"ab\" \"\" \"-\" }}", "a--b-- -a-b-"),
        ("${{ join_if \"/\" \"a\" \"\" \"b\" }}|${{ join_if \"/\" \"\" }}|${{ join_if \"-\" }}", "a/b||"),
        ("${{ len \"é\" }} ${{ len previous_step.modified_files }} ${{ len \"\" }}", "2 3 0"),
        (
            "${{ index previous_step.modified_files 1 }} ${{ index \"abc\" 0 }} ${{ index repository.name }}",
            "m2 97 example/one",
        ),
        (
            "${{ slice \"abcdef\" 1 3 }} ${{ slice \"abc\" 1 }} ${{ slice previous_step.modified_files 1 2 }}",
            "bc bc [m2]",
        ),
    ]);
}

#[test]
fn globs_match_whole_names_and_a_star_crosses_slashes() {
    for (text, glob, expected) in [
        ("github.com/a/b", "github.com*", true),
        ("github.com/a/b", "github.com/*/b", true),
        ("github.com/a/b", "github.com", false),
        ("github.com/a/b", "**", true),
        ("abc", "a?c", true),
        ("ac", "a?c", false),
        ("abc", "[a-b][!c]c", true),
        ("b-c", "[a-b][^-]c", true),
        ("abd", "ab{c,d}", true),
        ("ab", "ab{,c}", true),
        ("a{b,c}", "a\\{b,c\\}", true),
        ("", "*", true),
        ("", "", true),
        ("é", "?", true),
    ] {
        let template = format!("${{{{ matches {text:?} `{glob}` }}}}");
        assert_eq!(
            render(&template).as_deref(),
            Ok(if expected { "true" } else { "false" }),
            "{text} {glob}"
        );
    }
}

#[test]
fn logic_gives_the_deciding_value_and_stops_there() {
    prints(&[
        ("${{ and \"a\" \"\" \"b\" }}|${{ and 1 \"b\" }}", "|b"),
        ("${{ or \"\" \"b\" \"c\" }} ${{ or 0 \"\" }}|", "b |"),
        ("${{ and false (index previous_step.modified_files 99) }}", "false"),
        ("${{ or true (index previous_step.modified_files 99) }}", "true"),
        ("${{ not 0 }} ${{ not \"x\" }} ${{ true | and \"x\" }}", "true false true"),
    ]);
}

#[test]
fn comparison_is_between_values_of_one_kind() {
    prints(&[
        (
            "${{ eq 1 1 }} ${{ eq \"a\" \"b\" \"a\" }} ${{ eq 1.5 1.5 }} ${{ eq true false }}",
            "true true true false",
        ),
        ("${{ ne 1 2 }} ${{ ne \"a\" \"a\" }}", "true false"),
        ("${{ lt 1 2 }} ${{ le 2 2 }} ${{ gt \"b\" \"a\" }} ${{ ge 1.0 2.0 }}", "true true true false"),
        ("${{ lt 2 10 }} ${{ lt \"2\" \"10\" }}", "true false"),
        ("${{ eq (index \"abc\" 1) 98 }}", "true"),
    ]);
    let incomparable = |left, right| RenderFault::Incomparable { function: "eq", left, right };
    assert_eq!(render("${{ eq 1 \"1\" }}"), Err(incomparable("an integer", "text")));
    assert_eq!(render("${{ eq 1 1.0 }}"), Err(incomparable("an integer", "a number")));
    let lists = "${{ eq previous_step.added_files previous_step.added_files }}";
    assert_eq!(render(lists), Err(incomparable("a list", "a list")));
}

#[test]
fn printing_puts_spaces_where_go_does() {
    prints(&[
        ("${{ print 1 2 \"a\" 3 4.5 }}", "1 2a3 4.5"),
        ("${{ print \"a\" \"b\" true }}", "abtrue"),
        ("${{ println \"a\" 1 }}", "a 1\n"),
        (
            "${{ print previous_step.modified_files repository.search_result_paths }}",
            "[m1 m2 m3] README.md docs/a.md",
        ),
    ]);
}

#[test]
fn formats_are_those_of_go() {
    for (arguments, expected) in [
        (r#""%d|%5d|%-5d|%05d|%+d|% d" 42 42 42 42 42 42"#, "42|   42|42   |00042|+42| 42"),
        (r#""%x %X %#x %o %b %O" 255 255 255 8 5 8"#, "ff FF 0xff 10 101 0o10"),
        (r#""%c %q %U %#U" 233 233 955 955"#, "é 'é' U+03BB U+03BB 'λ'"),
        (r#""%s|%5s|%-5s|%.2s|%q" "abc" "abc" "abc" "abc" "a\"b\n""#, r#"abc|  abc|abc  |ab|"a\"b\n""#),
        (r#""%x %X % x %v" "hi" "hi" "hi" "hi""#, "6869 6869 68 69 hi"),
        (r#""%t %v" true false"#, "true false"),
        (
            r#""%f|%.2f|%8.3f|%-8.1f|%08.2f|%e|%g" 3.14159 3.14159 3.14159 3.14159 3.14159 1234.5678 0.00001"#,
            "3.141590|3.14|   3.142|3.1     |00003.14|1.234568e+03|1e-05",
        ),
        (r#""%v %v %v" 100000.0 1e20 1e21"#, "100000 1e+20 1e+21"),
        (
            r#""%v %s %q" previous_step.modified_files previous_step.modified_files previous_step.added_files"#,
            r#"[m1 m2 m3] [m1 m2 m3] ["a1"]"#,
        ),
        (r#""%T %T %T %T" 1 "a" 1.5 true"#, "int string float64 bool"),
        (r#""%[2]s %[1]s" "a" "b""#, "b a"),
        (r#""%*d|%.*f" 5 42 1 3.14159"#, "   42|3.1"),
        (r#""100%%""#, "100%"),
        (r#""%d" "x""#, "%!d(string=x)"),
        (r#""%d""#, "%!d(MISSING)"),
        (r#""%d" 1 2 "a""#, "1%!(EXTRA int=2, string=a)"),
        (r#""%s" 5"#, "%!s(int=5)"),
        (r#""%z" 5"#, "%!z(int=5)"),
        (r#""%" "#, "%!(NOVERB)"),
        (r#""%[5]d" 1"#, "%!d(BADINDEX)"),
        (r#""%6.2f%%|%+.1e" 99.5 12345.678"#, " 99.50%|+1.2e+04"),
    ] {
        assert_eq!(render(&format!("${{{{ printf {arguments} }}}}")).as_deref(), Ok(expected), "{arguments}");
    }
}

#[test]
fn what_cannot_be_known_before_fails_when_it_is_rendered() {
    let wrong = |function, expected, got| RenderFault::WrongType { function, expected, got };
    for (text, fault) in [
        (
            "${{ $x := repository.name }}${{ $x.y }}",
            RenderFault::NoField { of: "text", field: "y".to_owned() },
        ),
        (
            "${{ $x := repository }}${{ $x.y }}",
            RenderFault::NoField { of: "repository", field: "y".to_owned() },
        ),
        ("${{ len 3 }}", wrong("len", "text, a list or a map", "an integer")),
        ("${{ range repository.name }}${{ end }}", wrong("range", "a list, a map or an integer", "text")),
        ("${{ join \"a\" \",\" }}", wrong("join", "a list", "text")),
        ("${{ replace 1 \"a\" \"b\" }}", wrong("replace", "text", "an integer")),
        ("${{ index previous_step.modified_files \"1\" }}", wrong("index", "integers as positions", "text")),
        (
            "${{ index previous_step.modified_files 3 }}",
            RenderFault::OutOfRange { function: "index", index: 3, length: 3 },
        ),
        (
            "${{ index previous_step.modified_files -1 }}",
            RenderFault::OutOfRange { function: "index", index: -1, length: 3 },
        ),
        ("${{ slice \"abc\" 2 1 }}", RenderFault::OutOfRange { function: "slice", index: 2, length: 3 }),
        ("${{ slice \"é\" 1 }}", RenderFault::InsideCharacter { index: 1 }),
        (
            "${{ matches \"a\" \"[\" }}",
            RenderFault::BadGlob { pattern: "[".to_owned(), reason: "`[` without `]`" },
        ),
        ("${{ print repository }}", RenderFault::NotText { what: "repository" }),
        (
            "${{ printf \"%b\" 1.5 }}",
            RenderFault::UnsupportedVerb { verb: 'b', got: "a number with a fraction" },
        ),
    ] {
        assert_eq!(render(text), Err(fault), "{text}");
    }
}

#[test]
fn a_template_ends_within_its_bounds() {
    let nested = "${{ range 100000 }}${{ range 100000 }}${{ end }}${{ end }}";
    assert_eq!(render(nested), Err(RenderFault::TooMuchWork));
    let large = "${{ $x := \"0123456789abcdef\" }}${{ range 30 }}${{ $x = print $x $x }}${{ end }}${{ $x }}";
    assert!(
        matches!(render(large), Err(RenderFault::TooLarge { .. })),
        "{:?}",
        render(large).map(|text| text.len())
    );
    let padded = "${{ range 100 }}${{ printf \"%1000000d\" 1 }}${{ end }}";
    assert!(matches!(render(padded), Err(RenderFault::TooLarge { .. })));
    let replaced = "${{ $x := printf \"%1000000d\" 1 }}${{ replace $x \" \" $x }}";
    assert!(matches!(render(replaced), Err(RenderFault::TooLarge { .. })));
    let globbed = "${{ $x := printf \"%1000000d\" 1 }}${{ $p := printf \"%10000d\" 1 }}${{ range 9 }}${{ matches $x $p }}${{ end }}";
    assert_eq!(render(globbed), Err(RenderFault::TooMuchWork));
    assert_eq!(render("${{ range 9223372036854775807 }}${{ end }}"), Err(RenderFault::TooMuchWork));
}
