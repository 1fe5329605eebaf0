//! A PostgreSQL server of the tests' own, reached by a socket in a folder of its own.
//!
//! Owns the server and its folder. Both are gone soon after the process that started it, however that ended: a shell waits
//! for the end of its standard input, which only that process holds. Never waits for the disk: it holds nothing of worth.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where the package puts the programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// The user that the package makes: the server refuses to run as root.
const USER: &str = "postgres";

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the server, and ends it and removes its folder once standard input ends.
const SCRIPT: &str = r#"
programs=$1 folder=$2 user=$3
# A signal to the whole group, as by Ctrl-C, must not keep the folder from being removed.
trap : HUP INT TERM
as_user="setpriv --reuid $user --regid $user --clear-groups"
exec 3<&0 </dev/null >"$folder/log" 2>&1
if $as_user "$programs/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N; then
    $as_user "$programs/postgres" -D "$folder/data" -k "$folder" -h '' -c fsync=off -c max_connections=200 3<&- &
    server=$!
    read -r _ <&3
    kill -QUIT "$server"
    wait "$server"
else
    read -r _ <&3
fi
rm -rf "$folder"
"#;

/// A running server.
pub(crate) struct Postgres {
    folder: PathBuf,
    /// Its standard input is what keeps the server alive.
    _keeper: Child,
}

impl Postgres {
    /// The server of this process, started by whoever asks first.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("postgres-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder for PostgreSQL");
        chown(&folder, Some(id("-u")), Some(id("-g"))).expect("the folder is given to PostgreSQL's user");
        let keeper = Command::new("sh")
            .args(["-c", SCRIPT, "sh", PROGRAMS])
            .arg(&folder)
            .arg(USER)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let server = Self { folder, _keeper: keeper };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let start = Instant::now();
        while !self.program("pg_isready").arg("-q").status().is_ok_and(|status| status.success()) {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(
                start.elapsed() < PATIENCE,
                "PostgreSQL does not come up (is postgresql-15 installed?):\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes an empty database; returns its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        let status = self.program("createdb").arg(name).status();
        assert!(status.is_ok_and(|status| status.success()), "the database {name} is made");
        format!("postgres://postgres@localhost/{name}?host={}", self.folder.display())
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(Path::new(PROGRAMS).join(name));
        command.arg("-h").arg(&self.folder).args(["-U", "postgres"]);
        command
    }
}

fn id(which: &str) -> u32 {
    let output = Command::new("id").args([which, USER]).output().expect("`id` runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("the user `postgres` exists: install postgresql-15")
}
