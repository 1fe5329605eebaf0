//! Signing in the command line by a browser, which the scenario plays.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::access::{PASSWORD, answered, elsewhere, text};
use crate::world::{Role, World, wait_for};

/// `patchwave login --browser`, which waits. It ends with the scenario.
struct Login {
    child: Child,
    errors: BufReader<ChildStderr>,
    /// What it shows: the address, and what its page must show.
    address: String,
    mark: String,
}

impl Login {
    /// Starts it on a machine with this home, where this program is the browser.
    fn start(home: &Path, gateway: &str, browser: &Path) -> Self {
        let mut command = elsewhere(home, gateway, &["login", "--browser"]);
        command.env("BROWSER", browser).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut shown = String::new();
        while !shown.contains("press Enter") {
            assert!(errors.read_line(&mut shown).unwrap() > 0, "{shown}");
        }
        let word = |begin: &str, end: char| {
            let (_, rest) = shown.split_once(begin).unwrap();
            rest.split(end).next().unwrap().to_owned()
        };
        let (address, mark) = (format!("http{}", word("    http", '\n')), word("must show ", ':'));
        Self { child, errors, address, mark }
    }

    /// Types a line.
    fn type_line(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    /// The next line that it says.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.errors.read_line(&mut line).unwrap();
        line
    }

    /// Waits for its end; whether it went well, and what else it said.
    fn end(mut self) -> (bool, String) {
        let mut said = String::new();
        self.errors.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().success(), said)
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser that somebody sits in front of.
struct Browser {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    cookie: String,
}

/// What it was answered: the status, where that leads, and the page.
struct Answer(u16, String, String);

impl Browser {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Cookies and redirects are this story's own.
        let _ = crate::world::http_client();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { client: client.build().unwrap(), runtime, cookie: String::new() }
    }

    fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.header("cookie", &self.cookie);
        let (status, headers, page) = self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
        });
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        if let Some(cookie) = text("set-cookie") {
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        Answer(status, text("location").unwrap_or_default(), page)
    }

    fn get(&mut self, url: &str) -> Answer {
        self.send(self.client.get(url))
    }

    fn post(&mut self, url: &str, form: String) -> Answer {
        let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let request = self.client.post(url).header("origin", origin);
        self.send(request.header("content-type", "application/x-www-form-urlencoded").body(form))
    }

    /// Opens the address of a login, signs in as olga, and says yes.
    fn say_yes(&mut self, gateway: &str, login: &Login, way: &str) -> Answer {
        let Answer(status, _, page) = self.get(&login.address);
        assert!(status == 200 && page.contains("Password"), "{page}");
        let terminal = login.address.split_once('?').unwrap().1;
        let credentials = format!("{terminal}&name=olga&password={}", PASSWORD.replace(' ', "+"));
        let Answer(status, next, _) = self.post(&format!("{gateway}/signin"), credentials);
        assert_eq!((status, format!("{gateway}{next}")), (303, login.address.clone()));
        let Answer(_, _, page) = self.get(&login.address);
        assert!(page.contains("act as olga (operator)?") && page.contains(&login.mark), "{page}");
        self.post(&format!("{gateway}/signin/terminal"), format!("{terminal}&way={way}"))
    }
}

/// A browser that only notes what it is to open, and where.
fn noting_browser(folder: &Path) -> (PathBuf, PathBuf) {
    let (program, note) = (folder.join("browser"), folder.join("opened"));
    let note_text = note.display();
    std::fs::write(
        &program,
        format!("#!/bin/sh\nprintf %s \"$1\" >{note_text}.new\nmv {note_text}.new {note_text}\n"),
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (program, note)
}

#[test]
fn a_browser_signs_the_command_line_in_on_its_machine_and_on_another() {
    let mut world = World::up();
    let gateway = world.gateway().unwrap().url;
    let created =
        answered(world.command(&["user", "create", "olga", "--role", "operator"]), &format!("{PASSWORD}\n"));
    assert!(created.status.success(), "{}", text(&created));
    let home = world.folder().join("home");
    std::fs::create_dir(&home).unwrap();
    let run = |arguments: &[&str]| elsewhere(&home, &gateway, arguments).output().unwrap();
    let file = home.join(".config/patchwave/login.json");
    let (program, note) = noting_browser(world.folder());

    let both = run(&["login", "--browser", "--name", "olga"]);
    assert!(both.status.code() == Some(1) && text(&both).contains("cannot be used with"), "{}", text(&both));

    // Whoever gives up leaves nothing behind.
    let login = Login::start(&home, &gateway, Path::new("/bin/true"));
    let interrupt = Command::new("kill").args(["-s", "INT", &login.child.id().to_string()]).status();
    assert!(interrupt.unwrap().success() && !login.end().0 && !file.exists());

    // On this machine the browser opens by itself and brings the code; what others bring is worth nothing.
    let login = Login::start(&home, &gateway, &program);
    wait_for("the browser", || note.exists());
    assert_eq!(std::fs::read_to_string(&note).unwrap(), login.address);
    let mut browser = Browser::new();
    let Answer(status, to_terminal, _) = browser.say_yes(&gateway, &login, "send");
    assert_eq!(status, 303);
    let (place, code) = to_terminal.split_once("?code=").unwrap();
    for wrong in [place.to_owned(), format!("{place}?code=aaaa"), format!("{place}?code=aaaaaaaaaaaaaaaa")] {
        let Answer(status, _, page) = browser.get(&wrong);
        assert!(status == 400 && page.contains("Nobody is logged in"), "{wrong}: {page}");
    }
    let Answer(status, _, page) = browser.get(&to_terminal);
    assert!(status == 200 && page.contains("You can close this window"), "{page}");
    let (good, said) = login.end();
    assert!(good && said.contains("as olga (operator)"), "{said}");
    assert_eq!(text(&run(&["whoami"])), "olga (operator), signed in\n");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains(code), "the token has both halves");
    assert!(run(&["logout"]).status.success());
    std::fs::write(&file, &kept).unwrap();
    assert!(text(&run(&["whoami"])).contains("the token was revoked"), "the session itself is over");

    // On another machine it shows the code, which is typed.
    let mut login = Login::start(&home, &gateway, Path::new("/bin/true"));
    let Answer(status, _, page) = Browser::new().say_yes(&gateway, &login, "show");
    assert_eq!(status, 200);
    let shown = page.rsplit_once("<code>").unwrap().1.split('<').next().unwrap();
    login.type_line("aaaa-aaaa-aaaa-aaaa");
    assert!(login.hear().contains("that is not the code"));
    login.type_line(&shown.to_uppercase());
    let (good, said) = login.end();
    assert!(good && said.contains("as olga (operator)"), "{said}");
    assert_eq!(text(&run(&["whoami"])), "olga (operator), signed in\n");

    let log = world.process(Role::Up).log_text();
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let token = kept["tokens"].as_object().unwrap().values().next().unwrap().as_str().unwrap();
    assert!(
        !log.contains(token) && !log.contains(token.split('.').next().unwrap()) && !log.contains(PASSWORD)
    );
    world.end();
}

#[test]
fn where_nobody_is_told_apart_there_is_nobody_to_sign_in_as() {
    let mut world = World::new();
    world.start_up(&["--auth", "none"]);
    let refused = world.refused(&["login", "--browser"]);
    assert!(refused.contains("this gateway knows no users"), "{refused}");
    world.end();
}
