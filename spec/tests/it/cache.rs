//! The keys of the step cache: what changes one, what does not, and that nothing else is looked at.

use std::collections::BTreeSet;

use events::blob::Sha256;
use events::id::ActionId;
use events::secret::{Scope, SecretVersion};
use proptest::prelude::*;
use proptest::sample::select;
use spec::{CacheFacts, Context, Definition, JobFacts, StepFacts};

use crate::given::{accepted, batch, legacy};
use crate::language;

/// Three steps, the second of which depends on the first, with something to change in each place.
const SPEC: &str = r#"
name: cached
description: What it is for
steps:
  - run: echo one ${{ repository.name }} >file
    container: alpine:3
    env: [TOKEN, { LEVEL: "high" }, { WHO: "${{ repository.branch }}" }]
    files: { /tmp/a: "text ${{ steps.path }}" }
    mount: [{ path: scripts, mountpoint: /scripts }]
    outputs:
      first: { value: "${{ step.stdout }} ${{ repository.search_result_paths }}", format: yaml }
  - run: echo ${{ outputs.first }} ${{ previous_step.stdout }} ${{ repository.branch }}
    container: alpine:3
    if: ${{ ne outputs.first "" }}
  - run: echo three
    container: alpine:3
changesetTemplate: { title: t, branch: "${{ steps.path }}", commit: { message: m } }
"#;

#[derive(Clone, Debug)]
struct Case {
    text: String,
    context: Context,
    facts: CacheFacts,
}

impl Case {
    fn new(text: &str) -> Self {
        let secret = SecretVersion { name: "TOKEN".parse().unwrap(), scope: Scope::Global, version: 1 };
        let step = |secrets| StepFacts { image: digest('a').to_string(), secrets };
        let steps = vec![step(vec![secret]), step(vec![]), step(vec![])];
        let base_oid = "1".repeat(40).parse().unwrap();
        let mut context = language::context();
        context.batch_change = spec::BatchChange::default();
        let (pool, files) = ("default".to_owned(), Some(digest('b')));
        let facts = CacheFacts { base_oid, only_fetch_workspace: false, pool, files, steps };
        Self { text: text.to_owned(), context, facts }
    }

    fn replaced(mut self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "{from}");
        self.text = self.text.replace(from, to);
        self
    }

    fn with(mut self, change: impl Fn(&mut Context, &mut CacheFacts)) -> Self {
        change(&mut self.context, &mut self.facts);
        self
    }

    #[track_caller]
    fn keys(&self) -> Vec<Sha256> {
        let definition = accepted(batch(&self.text));
        let mut context = self.context.clone();
        context.batch_change.name.clone_from(&definition.name);
        context.batch_change.description.clone_from(&definition.description);
        definition.cache_keys(&context, &self.facts)
    }
}

fn digest(digit: char) -> Sha256 {
    digit.to_string().repeat(64).parse().unwrap()
}

/// How many keys stay the same from the first step on.
fn kept(changed: &Case) -> usize {
    let (before, after) = (Case::new(SPEC).keys(), changed.keys());
    assert_eq!((before.len(), after.len()), (3, 3), "{}", changed.text);
    let same: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before == after).collect();
    let kept = same.iter().take_while(|same| **same).count();
    assert!(same[kept..].iter().all(|same| !same), "a later key came back: {same:?}\n{}", changed.text);
    kept
}

#[test]
fn whatever_decides_what_a_step_does_changes_its_key_and_those_behind_it() {
    let case = || Case::new(SPEC);
    let changes = [
        ("script", case().replaced("echo one", "echo 1"), 0),
        ("value", case().replaced("\"high\"", "\"low\""), 0),
        ("variable", case().replaced("LEVEL:", "LEVELS:"), 0),
        ("file", case().replaced("\"text ", "\"other "), 0),
        ("file's place", case().replaced("/tmp/a:", "/tmp/b:"), 0),
        ("mountpoint", case().replaced("mountpoint: /scripts", "mountpoint: /other"), 0),
        ("output's name", case().replaced("first", "second"), 0),
        ("output's value", case().replaced("\"${{ step.stdout }} ", "\"${{ step.stderr }} "), 0),
        ("format", case().replaced("yaml", "json"), 0),
        ("dynamic script", case().replaced("previous_step.stdout", "previous_step.stderr"), 1),
        ("if", case().replaced("outputs.first \"\" }}", "outputs.first \"x\" }}"), 1),
        ("no if", case().replaced("    if: ${{ ne outputs.first \"\" }}\n", ""), 1),
        ("last script", case().replaced("echo three", "echo 3"), 2),
        ("repository", case().with(|context, _| context.repository.name.push('x')), 0),
        ("branch", case().with(|context, _| context.repository.branch.push('x')), 0),
        ("search", case().with(|context, _| drop(context.repository.search_result_paths.pop())), 0),
        ("path", case().with(|context, _| context.steps.path.push('x')), 0),
        ("commit", case().with(|_, facts| facts.base_oid = "2".repeat(40).parse().unwrap()), 0),
        ("only fetched", case().with(|_, facts| facts.only_fetch_workspace = true), 0),
        ("image", case().with(|_, facts| facts.steps[0].image = digest('c').to_string()), 0),
        ("later image", case().with(|_, facts| facts.steps[1].image = digest('c').to_string()), 1),
        ("secret's version", case().with(|_, facts| facts.steps[0].secrets[0].version = 2), 0),
        (
            "secret's scope",
            case().with(|_, facts| {
                facts.steps[0].secrets[0].scope = Scope::Action { action: ActionId::named("cached") };
            }),
            0,
        ),
        ("no secret", case().with(|_, facts| facts.steps[0].secrets.clear()), 0),
        ("mounted files", case().with(|_, facts| facts.files = Some(digest('c'))), 0),
        ("mounted path", case().replaced("path: scripts", "path: moved"), 0),
        ("pool", case().with(|_, facts| facts.pool.push('x')), 0),
        ("network", case().replaced("steps:\n", "patchwave: { network: none }\nsteps:\n"), 0),
    ];
    for (what, changed, expected) in changes {
        assert_eq!(kept(&changed), expected, "{what}");
    }
}

#[test]
fn the_keys_of_a_job_are_those_of_its_steps_as_far_as_its_images_are_known() {
    let text = SPEC.replacen("echo three\n    container: alpine:3", "echo three\n    container: alpine:4", 1);
    let text = text.replace(
        "steps:\n",
        "steps:\n  - { run: never, container: alpine:5, if: '${{ eq repository.name \"\" }}' }\n",
    );
    let definition: Definition = accepted(batch(&text));
    let case = Case::new(&text);
    let secret = |name: &str| SecretVersion { name: name.parse().unwrap(), scope: Scope::Global, version: 1 };
    let secrets = [secret("OTHER"), secret("TOKEN")];
    let keys = |images: &[(&str, char)]| {
        let images =
            images.iter().map(|(name, digit)| ((*name).to_owned(), digest(*digit).to_string())).collect();
        let files = case.facts.files.as_ref();
        let job = JobFacts { base_oid: &case.facts.base_oid, files, images: &images, secrets: &secrets };
        let mut context = case.context.clone();
        context.batch_change.name.clone_from(&definition.name);
        context.batch_change.description.clone_from(&definition.description);
        definition.job_keys(&context, &job)
    };
    let all = keys(&[("alpine:3", 'a'), ("alpine:4", 'a')]);
    assert_eq!(all, [2, 3, 4].into_iter().zip(case.keys()).collect::<Vec<_>>());
    assert_eq!(keys(&[("alpine:3", 'a')]), all[..2]);
    assert_eq!(keys(&[("alpine:4", 'a'), ("alpine:5", 'a')]), []);
}

#[test]
fn what_decides_nothing_changes_no_key() {
    let case = || Case::new(SPEC);
    for (what, changed) in [
        ("name", case().replaced("name: cached", "name: renamed")),
        ("description", case().replaced("What it is for", "Something else")),
        ("image's name", case().replaced("alpine:3", "alpine:latest")),
        ("another way to say it", case().replaced("echo three", "${{ \"echo\" }} three")),
        ("a step that never runs", case().replaced(
            "  - run: echo three",
            "  - { run: no, container: no, if: '${{ eq repository.name \"other\" }}' }\n  - run: echo three",
        )),
        ("template", case().replaced("title: t,", "title: other,")),
        ("order", case().replaced("{ LEVEL: \"high\" }, { WHO: \"${{ repository.branch }}\" }",
            "{ WHO: \"${{ repository.branch }}\" }, { LEVEL: \"high\" }")),
        ("what has not happened yet", case().with(|context, _| {
            context.previous_step.stdout.push('x');
            context.steps.changes.modified.push("x".to_owned());
        })),
    ] {
        assert_eq!(kept(&changed), 3, "{what}");
    }
}

#[test]
fn name_and_description_count_where_a_template_uses_them() {
    for (place, used) in [
        ("echo three", "echo ${{ batch_change.name }}"),
        ("echo three", "echo ${{ batch_change.name }} ${{ previous_step.stdout }}"),
        ("echo three", "echo ${{ with batch_change }}${{ .name }}${{ end }} ${{ previous_step.stdout }}"),
    ] {
        let uses = SPEC.replace(place, used);
        let (before, after) =
            (Case::new(&uses).keys(), Case::new(&uses).replaced("name: cached", "name: renamed").keys());
        assert_eq!(before[..2], after[..2], "{used}");
        assert_ne!(before[2], after[2], "{used}");
    }
}

#[test]
fn keys_end_where_the_facts_do() {
    let all = Case::new(SPEC).keys();
    for length in 0..3 {
        let some = Case::new(SPEC).with(|_, facts| facts.steps.truncate(length)).keys();
        assert_eq!(some, all[..length]);
    }
}

#[test]
fn legacy_steps_have_keys_too() {
    let keys = |text: &str| {
        let definition: Definition = accepted(legacy(text));
        let case = Case::new(SPEC).with(|_, facts| facts.steps.truncate(1));
        definition.cache_keys(&case.context, &CacheFacts { steps: vec![StepFacts::default()], ..case.facts })
    };
    let step = |step: &str| keys(&format!("{{\"scopeQuery\": \"q\", \"steps\": [{step}]}}"));
    let all = [
        r#"{ "type": "docker", "image": "a" }"#,
        r#"{ "type": "docker", "image": "a", "args": ["a", "b"] }"#,
        r#"{ "type": "docker", "image": "a", "args": ["ab"] }"#,
        r#"{ "type": "command", "args": ["a", "b"] }"#,
        r#"{ "type": "docker", "image": "a", "cacheDirs": ["/a"] }"#,
    ];
    let distinct: BTreeSet<_> = all.iter().map(|text| step(text)).collect();
    assert_eq!(distinct.len(), all.len());
    assert!(distinct.iter().all(|keys| keys.len() == 1));
}

#[test]
fn what_an_action_keeps_between_jobs_is_not_believed_by_another() {
    let keys = |name: &str, step: &str| {
        let text = format!(
            "name: {name}\nsteps: [{{ run: x, container: c{step} }}]\n\
             changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
        );
        Case::new(&text).keys()
    };
    assert_eq!(keys("one", ""), keys("other", ""));
    let legacy = |name: &str| {
        let text =
            r#"{"scopeQuery": "q", "steps": [{ "type": "docker", "image": "a", "cacheDirs": ["/a"] }]}"#;
        let mut definition: Definition = accepted(legacy(text));
        definition.name = name.to_owned();
        let case = Case::new(SPEC).with(|_, facts| facts.steps.truncate(1));
        definition.cache_keys(&case.context, &case.facts)
    };
    assert_ne!(legacy("one"), legacy("other"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_definitions_have_the_same_keys_only_if_they_do_the_same(
        one in prop::collection::vec((select(&["a", "b", "ab", ""][..]), select(&["A", "B", "AB"][..])), 1..4),
        other in prop::collection::vec((select(&["a", "b", "ab", ""][..]), select(&["A", "B", "AB"][..])), 1..4),
    ) {
        let keys = |env: &[(&str, &str)]| {
            let sorted: std::collections::BTreeMap<_, _> = env.iter().map(|(value, name)| (*name, *value)).collect();
            let pairs: Vec<String> = sorted.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
            let text = format!(
                "name: n\nsteps: [{{ run: x, container: c, env: {{ {} }} }}]\n\
                 changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n",
                pairs.join(", ")
            );
            (sorted.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect::<Vec<_>>(), Case::new(&text).keys())
        };
        let ((one, one_keys), (other, other_keys)) = (keys(&one), keys(&other));
        prop_assert_eq!(one_keys == other_keys, one == other);
    }
}
