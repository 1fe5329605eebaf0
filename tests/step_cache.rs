//! The step cache: what was computed once is not computed again, and what is not the same always is.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::world::{Run, World, engine, git, path_text, wait_for};

/// Steps that each add a line, one after the other, and what the template of the changeset knows.
fn steps(scripts: &[String]) -> String {
    let image = engine::IMAGE;
    let steps: String = scripts
        .iter()
        .map(|script| {
            let script = script.replace('\\', "\\\\").replace('"', "\\\"");
            format!("  - {{ run: \"{script}\", container: {image} }}\n")
        })
        .collect();
    format!(
        "name: cached\nsteps:\n{steps}changesetTemplate:\n  title: t\n  branch: change/cached\n  commit: {{ message: m }}\n"
    )
}

fn eight() -> Vec<String> {
    (1..=8).map(|number| format!("echo {number} >>lines; echo said {number}")).collect()
}

/// The steps of each job that ran, by its repository.
fn ran(run: &Run) -> BTreeMap<String, Vec<u64>> {
    let of = |event: &Value| event["aggregate"].as_str().unwrap().to_owned();
    let names = run
        .of_type("job.queued")
        .into_iter()
        .map(|event| (of(event), event["data"]["workspace"]["repository"].as_str().unwrap().to_owned()));
    names
        .map(|(job, name)| {
            let steps = run.of_type("job.step_started").into_iter().filter(|event| of(event) == job);
            (name, steps.map(|event| event["data"]["step"].as_u64().unwrap()).collect())
        })
        .collect()
}

/// The steps that ran where there is one job.
fn ran_alone(run: &Run) -> Vec<u64> {
    let mut all = ran(run);
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop_first().unwrap().1
}

impl World {
    fn one_repository(&self) -> git::Repository {
        self.repository("one").file("lines", "0\n").file("other", "x\n").commit()
    }

    fn cached(&self, scripts: &[String], repositories: &[&git::Repository]) -> Run {
        self.run(&self.definition("cached.batch.yaml", &steps(scripts)), repositories)
    }
}

#[test]
fn of_eight_steps_changed_at_the_fifth_only_those_from_there_run() {
    let world = World::up();
    let repository = world.one_repository();
    let first = world.cached(&eight(), &[&repository]).expect(0);
    assert_eq!(ran_alone(&first), (1..=8).collect::<Vec<_>>());

    let mut changed = eight();
    changed[4] = "echo five after $(echo ${{ previous_step.stdout }}) with ${{ join steps.modified_files \" \" }} >>lines".to_owned();
    let second = world.cached(&changed, &[&repository]).expect(0);
    assert_eq!(ran_alone(&second), [5, 6, 7, 8]);
    let reused = second.of_type("job.steps_reused")[0];
    assert_eq!(reused["data"]["step"], 4);
    assert_eq!(reused["data"]["execution"], first.execution(), "it is said from where");
    let job = reused["aggregate"].as_str().unwrap();
    let shown = world.ok(&["job", "show", job]);
    assert!(shown.contains("steps 1 to 4 did not run again"), "{shown}");
    let log = world.ok(&["job", "logs", job]);
    assert!(log.contains("steps 1 to 4 are not run again") && !log.contains("said 4"), "{log}");

    // What came of it is what a run of all steps comes to.
    let all = world.definition("cached.batch.yaml", &steps(&changed));
    let mut whole = world.run_command(&all, &[&repository]);
    let whole = Run::of(whole.arg("--no-cache").output().unwrap()).expect(0);
    assert_eq!(ran_alone(&whole), (1..=8).collect::<Vec<_>>());
    let diffs = [&second, &whole].map(|run| world.ok(&["plan", "diff", &run.plan()]));
    assert_eq!(diffs[0], diffs[1]);
    assert!(diffs[0].contains("+five after said 4 with lines\n"), "{}", diffs[0]);

    // One more at the end, and all before it are there.
    changed.push("echo nine >>other".to_owned());
    assert_eq!(ran_alone(&world.cached(&changed, &[&repository]).expect(0)), [9]);
    world.end();
}

#[test]
fn an_unchanged_rerun_runs_no_container() {
    let world = World::up();
    let changing: Vec<_> = (0..5)
        .map(|number| world.repository(&format!("r{number}")).file("lines", format!("{number}\n")).commit())
        .collect();
    let script = ["if [ -e lines ]; then echo more >>lines; fi".to_owned(), "echo done".to_owned()];
    let still = world.repository("still").file("README", "x\n").commit();
    let all: Vec<_> = changing.iter().chain([&still]).collect();
    let first = world.cached(&script, &all).expect(0);
    assert!(ran(&first).values().all(|steps| *steps == [1, 2]));
    let since = engine::now();

    let second = world.cached(&script, &all).expect(0);

    assert_eq!(engine::created_over(&world.data(), &since), 0, "no container was made");
    assert!(ran(&second).values().all(Vec::is_empty), "{:?}", ran(&second));
    assert_eq!(second.of_type("job.steps_reused").len(), 6);
    let diffs = [&first, &second].map(|run| world.ok(&["plan", "diff", &run.plan()]));
    assert_eq!(diffs[0], diffs[1]);
    // What changed nothing changes nothing from the cache either.
    let plan = world.documents(&["plan", "show", "--json", &second.plan()]).remove(0);
    assert_eq!(plan["changesets"], 5, "{plan:#}");
    assert_eq!(plan["unchanged"][0]["repository"], "still");

    // However often: it is said where they ran.
    let again = world.cached(&script, &all).expect(0);
    for reused in again.of_type("job.steps_reused") {
        assert_eq!(reused["data"]["execution"], first.execution());
    }

    // A commit more is another job.
    let moved = changing[0].checkout(&world.folder().join("moved")).file("lines", "other\n").commit();
    git::git(&changing[0].path, &["merge", "--quiet", "--ff-only", &moved.head()]);
    let third = world.cached(&script, &all).expect(0);
    let ran = ran(&third);
    assert_eq!(ran["r0"], [1, 2]);
    assert!(ran.iter().filter(|(name, _)| *name != "r0").all(|(_, steps)| steps.is_empty()), "{ran:?}");
    world.end();
}

#[test]
fn a_moved_tag_is_a_miss() {
    let world = World::up();
    let repository = world.one_repository();
    let tag = format!("scenario-moving:{}", uuid::Uuid::now_v7().simple());
    engine::derive(&tag, "first");
    let text = steps(&["cat /says >>lines".to_owned()]).replace(engine::IMAGE, &tag);
    let definition = world.definition("moving.batch.yaml", &text);
    let says = |run: &Run| world.ok(&["plan", "diff", &run.plan()]).contains("+second");

    let first = world.run(&definition, &[&repository]).expect(0);
    assert!(ran_alone(&world.run(&definition, &[&repository]).expect(0)).is_empty());
    engine::derive(&tag, "second");
    let moved = world.run(&definition, &[&repository]).expect(0);

    assert_eq!(ran_alone(&moved), [1]);
    assert!(!says(&first) && says(&moved));
    engine::remove_image(&tag);
    world.end();
}

#[test]
fn a_step_that_failed_is_tried_again_and_those_before_it_are_not() {
    let world = World::up();
    let repository = world.one_repository();
    let failing: Vec<String> =
        ["echo 1 >>lines", "echo 2 >>lines; exit 7", "echo 3 >>lines"].map(str::to_owned).into();
    let first = world.cached(&failing, &[&repository]).expect(1);
    assert_eq!(ran_alone(&first), [1, 2]);
    let again = world.cached(&failing, &[&repository]).expect(1);
    assert_eq!(ran_alone(&again), [2], "its failure is no result");

    let mended: Vec<String> =
        ["echo 1 >>lines", "echo 2 >>lines", "echo 3 >>lines"].map(str::to_owned).into();
    let run = world.cached(&mended, &[&repository]).expect(0);
    assert_eq!(ran_alone(&run), [2, 3]);
    let diff = world.ok(&["plan", "diff", &run.plan()]);
    assert!(diff.contains(" 0\n+1\n+2\n+3\n"), "{diff}");

    // Who wants a job that succeeded to run once more wants it to run.
    world.ok(&["execution", "retry", "--all", &run.execution()]);
    let shown = || world.documents(&["execution", "show", "--json", &run.execution()]).remove(0);
    wait_for("the end of the retry", || shown()["state"] == "SUCCEEDED");
    let story = world.documents(&["events", "show", "--json", &run.execution()]);
    let steps = story.iter().filter(|event| event["type"] == "job.step_started").count();
    assert_eq!(steps, 2 + 3, "{story:#?}");
    world.end();
}

#[test]
fn a_step_that_leans_on_what_another_left_in_its_container_never_begins_without_it() {
    let world = World::up();
    let repository = world.one_repository();
    let leaning = |last: &str| ["echo tool >/tool", "echo installed", last].map(str::to_owned);
    let first = world.cached(&leaning("cat /tool >>lines"), &[&repository]).expect(0);
    assert_eq!(ran_alone(&first), [1, 2, 3]);
    let second = world.cached(&leaning("cat /tool /tool >>lines"), &[&repository]).expect(0);
    assert_eq!(ran_alone(&second), [1, 2, 3]);
    assert!(world.ok(&["plan", "diff", &second.plan()]).contains("+tool\n+tool\n"));

    let waiting = |last: &str| ["sleep 1000 &".to_owned(), last.to_owned()];
    world.cached(&waiting("pidof sleep >/dev/null && echo found >>lines"), &[&repository]).expect(0);
    let run =
        world.cached(&waiting("pidof sleep >/dev/null && echo found it >>lines"), &[&repository]).expect(0);
    assert_eq!(ran_alone(&run), [1, 2]);

    // What was cleared again is nothing.
    let clearing = |last: &str| ["echo x >/tmp/x; rm /tmp/x; echo 1 >>lines".to_owned(), last.to_owned()];
    world.cached(&clearing("echo 2 >>lines"), &[&repository]).expect(0);
    assert_eq!(ran_alone(&world.cached(&clearing("echo 3 >>lines"), &[&repository]).expect(0)), [2]);
    world.end();
}

#[test]
fn another_value_of_a_secret_is_another_key() {
    let world = World::up();
    let repository = world.one_repository();
    let text = steps(&["test -n \"$TOKEN\" && echo set >>lines".to_owned()]);
    let text = text.replace(" container:", " env: [TOKEN], container:");
    let definition = world.definition("secret.batch.yaml", &text);
    let set = |value: &str| {
        let file = world.folder().join("value");
        std::fs::write(&file, value).unwrap();
        world.ok(&["secret", "set", "TOKEN", "--from-file", &path_text(&file)]);
    };
    set("first value");
    assert_eq!(ran_alone(&world.run(&definition, &[&repository]).expect(0)), [1]);
    assert!(ran_alone(&world.run(&definition, &[&repository]).expect(0)).is_empty());
    set("second value");
    assert_eq!(ran_alone(&world.run(&definition, &[&repository]).expect(0)), [1]);
    world.end();
}
