//! Limits: what a user sees of a job that ran away.

use crate::world::{World, script_definition};

/// A job, what `job show` says of it, and its log.
struct Seen {
    shown: String,
    json: serde_json::Value,
    log: String,
}

impl World {
    /// Runs a script as a job that must not succeed under these settings, each a line of YAML.
    fn runaway(&self, name: &str, settings: &str, script: &str) -> Seen {
        let repository = self.repository(name).file("a", "1\n").commit();
        let settings = settings.lines().map(|line| format!("  {line}\n")).collect::<String>();
        let text = format!("{}patchwave:\n{settings}", script_definition(name, script));
        let run = self.run(&self.definition(&format!("{name}.batch.yaml"), &text), &[&repository]).expect(1);
        let job = run.of_type("job.queued")[0]["aggregate"].as_str().unwrap().to_owned();
        Seen {
            shown: self.ok(&["job", "show", &job]),
            json: serde_json::from_str(&self.ok(&["job", "show", &job, "--json"])).unwrap(),
            log: self.ok(&["job", "logs", &job]),
        }
    }
}

impl Seen {
    /// Checks the kind of the failure, the limit and its value.
    #[track_caller]
    fn expect(&self, kind: &str, limit: &str, value: u64) {
        let failure = &self.json["failure"];
        assert_eq!(failure["kind"], kind, "{failure}");
        assert_eq!(failure["step"], 1, "{failure}");
        assert_eq!(
            (failure["limit"]["name"].as_str(), failure["limit"]["value"].as_u64()),
            (Some(limit), Some(value))
        );
        // The log ends with the words that the job's page shows, and those say what to do.
        let message = failure["message"].as_str().unwrap();
        assert!(self.log.contains(message), "{message}: {}", self.log);
        assert!(self.shown.contains(message) && self.shown.contains("patchwave."), "{}", self.shown);
    }
}

#[test]
fn memory_that_ran_out_is_reported_as_that() {
    let world = World::up();
    let seen = world.runaway("memory", "limits: { memory: 32MiB }", "echo begun; tail /dev/zero");
    seen.expect("out_of_memory", "memory", 32 << 20);
    assert!(seen.shown.contains("step 1: out of memory: the job may have 32 MiB"), "{}", seen.shown);
    world.end();
}

#[test]
fn a_disk_is_not_filled_by_one_file_nor_by_many() {
    let world = World::up();
    let settings = "limits: { workspaceBytes: 8MiB, workspaceFiles: 400 }";
    let large = world.runaway("large", settings, "dd if=/dev/zero of=big bs=1M count=1000");
    large.expect("limit", "workspace_bytes", 8 << 20);
    let many = world.runaway("many", settings, "i=0; while true; do echo x >f$i; i=$((i+1)); done");
    many.expect("limit", "workspace_files", 400);
    let script = "while true; do head -c 100000 /dev/zero >>/tmp/big; done";
    world.runaway("image", "limits: { imageBytes: 8MiB }", script).expect("limit", "image_bytes", 8 << 20);
    world.end();
}

#[test]
fn an_endless_log_ends_with_a_line_that_says_so() {
    let world = World::up();
    let seen = world.runaway("endless", "limits: { logBytes: 100KiB, onLogLimit: fail }", "yes");
    seen.expect("limit", "log_bytes", 100 << 10);
    assert!(seen.log.starts_with("y\ny\n"));
    assert!(seen.log.contains("\nthe log is full at 100 KiB (limits.logBytes): the job ends here\n"));
    assert!(seen.log.len() < 101 << 10, "{}", seen.log.len());
    world.end();
}

#[test]
fn a_step_and_a_job_that_take_too_long_are_told_apart() {
    let world = World::up();
    let step = world.runaway("step", "timeout: 60s\nstepTimeout: 2s", "echo begun; sleep 600");
    step.expect("timed_out", "step_timeout", 2_000);
    assert!(step.shown.contains("step 1 reached its time limit of 2 s"), "{}", step.shown);
    let job = world.runaway("job", "timeout: 2s\nstepTimeout: 60s", "echo begun; sleep 600");
    let failure = &job.json["failure"];
    assert_eq!((failure["kind"].as_str(), &failure["step"]), (Some("timed_out"), &serde_json::Value::Null));
    assert_eq!(
        (failure["limit"]["name"].as_str(), failure["limit"]["value"].as_u64()),
        (Some("timeout"), Some(2_000))
    );
    assert!(job.shown.contains("the job reached its time limit of 2 s"), "{}", job.shown);
    world.end();
}
