//! Definitions as they are found in the wild: in the shapes that people write, they mean what they meant elsewhere.

use spec::{Action, Container, Context, Published};

use crate::given::{accepted, batch, legacy};

const APPEND: &str = r#"name: hello-world
description: Add Hello World to READMEs

# Find all repositories that contain a README.md file.
on:
  - repositoriesMatchingQuery: file:README.md

# In each repository, run this command. Each repository's resulting diff is captured.
steps:
  - run: echo Hello World | tee -a $(find -name README.md)
    container: alpine:3

# Describe the changeset for each repository.
changesetTemplate:
  title: Hello World
  body: My first batch change!
  branch: hello-world # Push the commit to this branch.
  commit:
    message: Append Hello World to all README.md files
  published: false
"#;

const QUOTES_AND_LOOPS: &str = r##"name: loops
on:
  - repositoriesMatchingQuery: patternType:structural 'fmt.Sprintf("%d", :[v])' lang:go -file:vendor count:10
steps:
  - run: |
      for file in "${{ join repository.search_result_paths " " }}"; do
        sed -i 's/${BEFORE}/{{ not a template }}/g' "$file"
      done
    container: alpine:3
    env: { BEFORE: 'a ${{ `b` }}' }
  - run: |
      ${{ range $index, $file := repository.search_result_paths }}
      comby -in-place 'foo(:[x])' 'bar(:[x])' ${{ $file }} # ${{ $index }}
      ${{ end }}
    container: comby/comby
  - run: echo "${{ previous_step.stdout }}" && /work.sh
    container: alpine:3
    files:
      /work.sh: |
        #!/usr/bin/env bash
        echo "$1" ${{ if matches repository.name "github.com/*" }}on GitHub${{ else }}elsewhere${{ end }}
changesetTemplate:
  title: "[${{ batch_change.name }}] Loops: ${{ repository.name }}"
  body: |
    ## Changed

    ${{ range steps.modified_files }}
    - `${{ . }}`
    ${{ end }}
  branch: >-
    ${{ if eq repository.branch "main" }}
    loops/${{ replace steps.path "/" "-" }}
    ${{ else }}
    loops
    ${{ end }}
  commit:
    message: ${{ join_if "-" "loops" repository.branch steps.path }}
  published:
    - github.com/my-org/*: true
    - '*@loops': draft
"##;

const FORMATTER: &str = r#"{
  "$schema": "https://example.org/actions.schema.json",
  // Only Go.
  "scopeQuery": "lang:go fork:no",
  "steps": [
    {
      "type": "docker",
      "image": "golang:1.13-alpine",
      "args": ["sh", "-c", "cd /work && gofmt -w ./"],
      "cacheDirs": ["/root/.cache"],
    },
    {
      "type": "docker",
      "dockerfile": "FROM alpine:3 \n CMD find /work -iname '*.md' -type f | xargs -n 1 sed -i s/this/that/g"
    },
    { "type": "command", "args": ["yarn-deduplicate", "--strategy", "highest"] }
  ]
}
"#;

#[test]
fn the_first_definition_that_everybody_writes() {
    let definition = accepted(batch(APPEND));
    let Action::Script(run) = &definition.steps[0].action else { panic!("a script") };
    assert_eq!(run.source(), "echo Hello World | tee -a $(find -name README.md)");
    let template = definition.changeset_template.unwrap();
    assert_eq!(template.branch.source(), "hello-world");
}

#[test]
fn quotes_loops_and_conditions() {
    let definition = accepted(batch(QUOTES_AND_LOOPS));
    let context = context();
    let script = |step: usize| match &definition.steps[step].action {
        Action::Script(run) => run.render(&context).unwrap(),
        _ => panic!("a script"),
    };
    assert_eq!(
        script(0),
        "for file in \"a.go b/c.go\"; do\n  sed -i 's/${BEFORE}/{{ not a template }}/g' \"$file\"\ndone\n"
    );
    assert_eq!(definition.steps[0].env[0].1.render(&context).as_deref(), Ok("a b"));
    assert_eq!(
        script(1),
        "\ncomby -in-place 'foo(:[x])' 'bar(:[x])' a.go # 0\n\n\
         comby -in-place 'foo(:[x])' 'bar(:[x])' b/c.go # 1\n\n"
    );
    assert_eq!(script(2), "echo \"before\" && /work.sh");
    let (path, content) = &definition.steps[2].files[0];
    let content = content.render(&context).unwrap();
    assert_eq!(
        (path.as_str(), content.as_str()),
        ("/work.sh", "#!/usr/bin/env bash\necho \"$1\" on GitHub\n")
    );
}

#[test]
fn a_branch_over_several_lines() {
    let template = accepted(batch(QUOTES_AND_LOOPS)).changeset_template.unwrap();
    let changeset = template.render(&context(), &"refs/heads/main".parse().unwrap()).unwrap();
    assert_eq!(changeset.branch.as_str(), "refs/heads/loops/services-web");
    assert_eq!(changeset.title, "[batch] Loops: github.com/my-org/one");
    assert_eq!(changeset.body, "## Changed\n\n\n- `a.go`\n\n- `b/c.go`");
    assert_eq!(changeset.message, "loops-main-services/web");
    assert_eq!(changeset.publication, events::document::Publication::Published);
    assert!(matches!(template.published, Published::Rules(rules) if rules.len() == 2));
}

#[test]
fn a_formatter_in_the_old_format() {
    let definition = accepted(legacy(FORMATTER));
    let [format, built, command] = &definition.steps[..] else { panic!("three steps") };
    assert!(matches!(&format.action, Action::Arguments(args) if args.len() == 3));
    assert!(
        matches!(&built.container, Container::Dockerfile(text) if text.starts_with("FROM alpine:3 \n CMD"))
    );
    assert!(matches!(&command.action, Action::Command(args) if args[0] == "yarn-deduplicate"));
}

fn context() -> Context {
    let mut context = Context::default();
    context.batch_change.name = "batch".to_owned();
    context.repository.name = "github.com/my-org/one".to_owned();
    context.repository.branch = "main".to_owned();
    context.repository.search_result_paths = vec!["a.go".to_owned(), "b/c.go".to_owned()];
    context.previous_step.stdout = "before".to_owned();
    context.steps.path = "services/web".to_owned();
    context.steps.changes.modified = context.repository.search_result_paths.clone();
    context
}
