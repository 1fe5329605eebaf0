//! Access control, from the first start to a token of a program's own.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::world::{Role, World};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// The link that a gateway's log shows while there is nobody.
fn link(log: &str) -> Option<String> {
    let rest = log.split("http://").find(|part| part.contains("/setup?token="))?;
    let end = rest.find(|character: char| character.is_whitespace() || character == '"');
    Some(format!("http://{}", &rest[..end.unwrap_or(rest.len())]))
}

/// A request as a browser sends a form, or without one to read it; the status and the page.
fn browse(url: &str, form: Option<&str>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = crate::world::http_client();
        let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let request = match form {
            Some(form) => client
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("origin", origin)
                .body(form.to_owned()),
            None => client.get(url),
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

/// A machine without the data directory: a home of its own, and the address of the gateway.
pub(crate) fn elsewhere(home: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchwave"));
    let data = home.join("no-data");
    command.args(arguments).env("HOME", home).env("PATCHWAVE_DATA", data).env("PATCHWAVE_SERVER", url);
    command.env("NO_COLOR", "1").env_remove("XDG_CONFIG_HOME").env_remove("PATCHWAVE_TOKEN");
    command
}

/// Runs a command that is answered from its standard input.
pub(crate) fn answered(mut command: Command, answer: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_first_administrator_comes_by_a_link_that_is_good_once() {
    let mut world = World::up();
    let url = world.gateway().unwrap().url;
    let link = link(&world.process(Role::Up).log_text()).expect("a link in the log");
    let token = link.split_once("token=").unwrap().1.to_owned();
    assert_eq!(
        world.ok(&["whoami"]),
        "local (admin), by the data directory\n",
        "nothing changes for its owner"
    );

    assert_eq!(browse(&format!("{url}/setup?token=pw_wrong"), None).0, 404);
    let (status, page) = browse(&link, None);
    assert!(status == 200 && page.contains("first administrator") && !page.contains("<script"), "{page}");
    let setup = format!("{url}/setup");
    let short = browse(&setup, Some(&format!("token={token}&name=anna&password=short")));
    assert!(short.0 == 400 && short.1.contains("12 are the fewest"), "{short:?}");
    let good = format!("token={token}&name=anna&password=correct+horse+battery");
    let created = browse(&setup, Some(&good));
    assert!(created.0 == 200 && created.1.contains("anna is the administrator"), "{created:?}");
    for (again, form) in [(&link, None), (&setup, Some(good.replace("anna", "eve")))] {
        assert_eq!(browse(again, form.as_deref()).0, 404, "the link is used up");
    }
    let users = world.documents(&["user", "list", "--json"]);
    assert_eq!((users.len(), &users[0]["name"], &users[0]["role"]), (1, &"anna".into(), &"ADMIN".into()));

    let log = world.process(Role::Up).log_text();
    assert!(!log.contains(PASSWORD), "the log says no password");
    world.end();
}

#[test]
fn a_user_signs_in_elsewhere_and_gives_a_program_a_token() {
    let mut world = World::up();
    let url = world.gateway().unwrap().url;
    let created =
        answered(world.command(&["user", "create", "olga", "--role", "operator"]), "correct horse battery\n");
    assert!(created.status.success(), "{}", text(&created));

    let home = world.folder().join("home");
    std::fs::create_dir(&home).unwrap();
    let run = |arguments: &[&str]| elsewhere(&home, &url, arguments).output().unwrap();
    let refused = run(&["execution", "list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("error[unauthenticated]") && text(&refused).contains("patchwave login"));

    let wrong = answered(elsewhere(&home, &url, &["login", "--name", "olga"]), "a guess\n");
    assert!(!wrong.status.success() && text(&wrong).contains("the name or the password is another one"));
    let login = answered(elsewhere(&home, &url, &["login", "--name", "olga"]), "correct horse battery\n");
    assert!(login.status.success() && text(&login).contains("as olga (operator)"), "{}", text(&login));
    assert_eq!(text(&run(&["whoami"])), "olga (operator), signed in\n");
    let forbidden = run(&["user", "list"]);
    assert!(
        text(&forbidden).contains("error[forbidden]") && text(&forbidden).contains("needs the role admin")
    );

    let made = run(&["token", "create", "nightly build", "--role", "viewer", "--days", "1", "--json"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let token = made["token"].as_str().unwrap();
    let program = |arguments: &[&str]| {
        let mut command = elsewhere(&world.folder().join("program"), &url, arguments);
        command.env("PATCHWAVE_TOKEN", token).output().unwrap()
    };
    assert_eq!(text(&program(&["whoami"])), "olga (viewer), by a token\n");
    assert!(program(&["execution", "list"]).status.success());
    let drained = program(&["runner", "drain", "local"]);
    assert!(
        text(&drained).contains("error[forbidden]") && text(&drained).contains("operator"),
        "{}",
        text(&drained)
    );

    let revoked = run(&["token", "revoke", made["id"].as_str().unwrap()]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    assert!(text(&program(&["whoami"])).contains("the token was revoked"));

    let file = home.join(".config/patchwave/login.json");
    let session = std::fs::read_to_string(&file).unwrap();
    assert!(run(&["logout"]).status.success());
    assert!(text(&run(&["whoami"])).contains("error[unauthenticated]"));
    // The session itself is over, not only forgotten here.
    std::fs::write(&file, session).unwrap();
    assert!(text(&run(&["whoami"])).contains("the token was revoked"));

    let log = world.process(Role::Up).log_text();
    assert!(!log.contains(token) && !log.contains(PASSWORD), "the log says neither");
    world.end();
}
