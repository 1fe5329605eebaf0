//! A certified provider in a process of its own, with one person in front of it at a time.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use gateway::{Plain, ProviderConfig, ProviderRules};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::world::PATIENCE;

const ID: &str = "patchwave";
const SECRET: &str = "of a client, known to two";

pub(crate) struct Certified {
    pub(crate) issuer: String,
    settings: Value,
    folder: tempfile::TempDir,
    /// With what it says, which is to be read or it could not go on.
    child: Option<(Child, Lines<BufReader<ChildStdout>>)>,
}

impl Certified {
    /// One that sends browsers back to this gateway; `more` is set beside.
    pub(crate) async fn start(gateway: &str, more: &Value) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = std::env::var_os("PATCHWAVE_TOOLS").map_or(root.join("../../.tools"), PathBuf::from);
        let packages = tools.join("node-provider/node_modules");
        assert!(packages.join("oidc-provider").exists(), "scripts/node.sh installs what is missing");
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(packages, folder.path().join("node_modules")).unwrap();
        std::fs::copy(root.join("tests/provider/provider.mjs"), folder.path().join("provider.mjs")).unwrap();
        let mut settings = json!({
            "port": 0, "redirect": format!("{gateway}/signin/oidc/callback"), "id": ID, "secret": SECRET, "key": "first",
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut provider = Self { issuer: String::new(), settings, folder, child: None };
        provider.run().await;
        provider
    }

    /// What a gateway is told about it.
    pub(crate) fn config(&self, rules: ProviderRules) -> ProviderConfig {
        ProviderConfig {
            issuer: self.issuer.clone(),
            client_id: ID.to_owned(),
            client_secret: Plain::new(SECRET.to_owned()),
            scopes: vec!["groups".to_owned()],
            rules,
        }
    }

    /// Whoever is in front of the browsers from now on.
    pub(crate) async fn person(&self, claims: &Value) {
        let url = format!("{}/person", self.issuer);
        let answer = reqwest::Client::new().put(url).json(claims).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    pub(crate) async fn stop(&mut self) {
        self.child.take().unwrap().0.kill().await.unwrap();
    }

    /// Starts it again where it was, with a key of this name.
    pub(crate) async fn start_again(&mut self, key: &str) {
        self.settings["port"] = json!(reqwest::Url::parse(&self.issuer).unwrap().port());
        self.settings["key"] = json!(key);
        self.run().await;
    }

    async fn run(&mut self) {
        let mut command = Command::new("node");
        command.arg("provider.mjs").arg(self.settings.to_string()).current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("node runs: scripts/node.sh installs it");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it starts").unwrap();
        self.issuer = line.expect("it says where it is");
        self.child = Some((child, lines));
    }
}
