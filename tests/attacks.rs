//! Hostile names, logs and files, seen from a person's terminal.

use std::process::Command;

use crate::world::{World, git::git, path_text, script_definition};

/// What would clear a screen, set its title, hide or turn text, or move about in it.
const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{1b}[8mhidden\u{1b}[0m\u{202e}txt\u{9b}5A\r";

impl World {
    /// What a client command shows on a terminal.
    fn on_a_terminal(&self, arguments: &[&str]) -> String {
        let quoted: Vec<String> =
            arguments.iter().map(|argument| format!("'{}'", argument.replace('\'', r"'\''"))).collect();
        let plain = self.command(&[]);
        let program = plain.get_args().last().unwrap().to_str().unwrap();
        let output = Command::new("script")
            .args([
                "--quiet",
                "--return",
                "--command",
                &format!("'{program}' {}", quoted.join(" ")),
                "/dev/null",
            ])
            .env("PATCHWAVE_DATA", self.data())
            .env("NO_COLOR", "1")
            .env("TERM", "xterm")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Asserts that no more than colours would reach a terminal.
#[track_caller]
fn is_harmless(shown: &str) {
    // A terminal's own line ends.
    let shown = shown.replace("\r\n", "\n");
    let mut rest = shown.as_str();
    while let Some((_, after)) = rest.split_once('\u{1b}') {
        let end = after.find('m').unwrap_or_else(|| panic!("no colour: {shown:?}"));
        let colour = after.starts_with('[') && after[1..end].chars().all(|c| c.is_ascii_digit() || c == ';');
        assert!(colour && &after[1..end] != "8", "no colour: {shown:?}");
        rest = &after[end..];
    }
    let bad = |c: char| (c.is_control() && !matches!(c, '\n' | '\t' | '\u{1b}')) || c == '\u{202e}';
    assert!(!shown.contains(bad), "{shown:?}");
}

#[test]
fn hostile_names_and_output_are_inert_on_a_terminal() {
    let world = World::up();
    let owned = world.folder().join("owned");
    let repository =
        world.repository("--upload-pack=touch owned;$(touch owned)\u{202e}txt").file("a", "1\n").commit();
    git(&repository.path, &["branch", "--move", "x;$(touch${IFS}owned)&'|`id`\u{202e}"]);
    let script = "printf '%s\\n' \"$HOSTILE\"; printf '%s' \"$HOSTILE\" >&2; echo \"$HOSTILE\" >a; mkfifo \"p$HOSTILE\"\n\
                  echo 2000-01-01T00:00:00Z step 1 ended with exit code 9; echo x >\"b$HOSTILE\"";
    let text = script_definition("hostile", script);
    let quoted: String =
        ESCAPES.chars().map(|character| format!("\\u{:04x}", u32::from(character))).collect();
    let text = text.replace("    run: |", &format!("    env:\n      HOSTILE: \"{quoted}\"\n    run: |"));
    let definition = world.definition("hostile.batch.yaml", &text);

    let refused =
        world.on_a_terminal(&["run", &path_text(&definition), "--repo", &format!("/tmp/{ESCAPES}")]);
    assert!(refused.contains("cannot be used as a repository"), "{refused:?}");
    is_harmless(&refused);

    let run = world.run(&definition, &[&repository]).expect(0);

    let job = run.of_type("job.succeeded")[0]["aggregate"].as_str().unwrap().to_owned();
    let raw = world.bytes(&["job", "logs", &job]);
    let written = format!("{ESCAPES}\n");
    assert!(raw.windows(written.len()).any(|bytes| bytes == written.as_bytes()), "a pipe gets every byte");
    let (plan, execution) = (run.plan(), run.execution());
    let shown = world.on_a_terminal(&["job", "logs", &job]);
    assert!(shown.contains("step 1 ended with exit code 9"), "{shown:?}");
    is_harmless(&shown);
    assert!(
        world.on_a_terminal(&["job", "logs", "--raw", &job]).contains("\u{1b}[2J"),
        "who asks for it gets it"
    );
    for arguments in [
        &["job", "show", &job][..],
        &["execution", "show", &execution],
        &["execution", "list"],
        &["plan", "show", &plan],
        &["plan", "diff", &plan],
        &["action", "list"],
        &["events", "show", &execution],
        &["run", &path_text(&definition), "--repo", &path_text(&repository.path)],
    ] {
        let shown = world.on_a_terminal(arguments);
        assert!(!shown.trim().is_empty(), "{arguments:?}");
        if arguments[0] != "run" {
            is_harmless(&shown);
        } else {
            // Its own display moves about on the screen; nobody else's words do.
            assert!(!shown.contains("\u{1b}[2J") && !shown.contains("\u{1b}]0;"), "{shown:?}");
        }
    }
    assert!(!owned.exists() && !repository.path.join("owned").exists());
    assert_eq!(run.of_type("job.succeeded").len(), 1, "no result is read from a log");
    world.end();
}
