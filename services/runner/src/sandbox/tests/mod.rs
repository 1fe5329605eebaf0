//! Tests on the real engine. Each has a runner's name of its own, so that those which run at the same time never touch
//! one another's containers.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

mod builds;
mod ends;
mod images;
mod internet;
mod networks;
mod reach;
mod rights;
mod scripts;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions};
use bytes::Bytes;
use events::beat::Running;
use events::id::{ExecutionId, JobId, RunnerId};
use events::log::Stream;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::sync::{OnceCell, watch};
use uuid::Uuid;

use super::*;
use crate::limits::LogLimits;
use crate::reach::NetworkSettings;

/// Enough for all of these tests.
const LIMITS: Limits = Limits {
    memory_bytes: 1 << 30,
    cpu_millis: None,
    pids: 4096,
    workspace_bytes: 1 << 30,
    workspace_files: 1_000_000,
    image_bytes: 1 << 30,
    log: LogLimits::OWN,
};

/// Where containers are that need no network.
const PLACE: Place = Place { slot: 0, reach: Reach::None };

/// What they may use.
const GRANT: Grant<'_> = Grant { place: PLACE, limits: &LIMITS, logins: &[] };

/// A runner, its engine and one attempt.
struct World {
    dir: TempDir,
    runner: RunnerId,
    engine: Engine,
    attempt: Running,
}

impl World {
    async fn new() -> Self {
        Self::with(NetworkSettings::default()).await
    }

    async fn with(networks: NetworkSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runner: RunnerId = format!("test-{}", Uuid::now_v7().simple()).parse().unwrap();
        let options = EngineOptions { networks, ..EngineOptions::default() };
        let engine = Engine::connect(&options, &runner, dir.path()).await.unwrap();
        let attempt = Running { job: JobId::from_uuid(Uuid::now_v7()), attempt: 3 };
        Self { dir, runner, engine, attempt }
    }

    /// A folder in the world.
    fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    async fn container(&self, main: Main) -> Container {
        self.container_of(&busybox(&self.engine).await, main).await.unwrap()
    }

    async fn container_of(&self, image: &Image, main: Main) -> Result<Container, Trouble> {
        let (files, scratch) = (self.folder("files"), self.folder("scratch"));
        self.engine.create(&self.spec(image, &files, &scratch, main)).await
    }

    fn spec<'a>(
        &'a self,
        image: &'a Image,
        files: &'a Path,
        scratch: &'a Path,
        main: Main,
    ) -> ContainerSpec<'a> {
        ContainerSpec {
            execution: ExecutionId::from_uuid(Uuid::now_v7()),
            attempt: &self.attempt,
            place: PLACE,
            image,
            files,
            scratch,
            limits: &LIMITS,
            workdir: WORK.to_owned(),
            cache_dirs: &[],
            read_only_files: &[],
            main,
        }
    }

    /// A container that runs, for scripts.
    async fn idle(&self) -> Container {
        let container = self.container(Main::Idle).await;
        container.start().await.unwrap();
        container
    }

    /// Runs a script in each way that there is, which must not differ.
    async fn both(&self, script: &str) -> [(i64, Heard); 3] {
        let heard = Heard::default();
        let idle = self.idle().await;
        let code = idle.run_script(script, &[], &mut heard.clone()).await.unwrap();
        let alone = Heard::default();
        let main = self.container(one(script)).await;
        let alone_code = main.run_main(&mut alone.clone()).await.unwrap();
        idle.remove().await.unwrap();
        main.remove().await.unwrap();
        let second = Heard::default();
        let many = self.container(many(&["true", script])).await;
        let mut scripts = many.start_scripts().await.unwrap();
        assert_eq!(scripts.next(&mut Heard::default()).await.unwrap(), 0);
        let second_code = scripts.next(&mut second.clone()).await.unwrap();
        scripts.finish().await.unwrap();
        many.remove().await.unwrap();
        [(code, heard), (alone_code, alone), (second_code, second)]
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that failed leaves no container either.
        let (runner, home) = (self.runner.clone(), self.dir.path().to_owned());
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let engine = Engine::connect(&EngineOptions::default(), &runner, &home).await.unwrap();
                engine.close().await.unwrap();
            });
        });
        if cleaned.join().is_err() && !std::thread::panicking() {
            panic!("the test's containers could not be removed");
        }
    }
}

fn one(script: &str) -> Main {
    Main::Script { script: script.to_owned(), env: vec![] }
}

fn many(scripts: &[&str]) -> Main {
    Main::Scripts { scripts: scripts.iter().map(|script| (*script).to_owned()).collect(), env: vec![] }
}

/// What a step wrote.
#[derive(Clone, Default)]
struct Heard(Arc<Inside>);

#[derive(Default)]
struct Inside {
    bytes: Mutex<(Vec<u8>, Vec<u8>)>,
    news: watch::Sender<()>,
}

impl Output for Heard {
    fn write(&mut self, stream: Stream, bytes: Bytes) -> BoxFuture<'_, ()> {
        assert!(!bytes.is_empty());
        {
            let mut heard = self.0.bytes.lock().unwrap();
            let to = if stream == Stream::Stdout { &mut heard.0 } else { &mut heard.1 };
            to.extend_from_slice(&bytes);
        }
        self.0.news.send_replace(());
        async {}.boxed()
    }
}

impl Heard {
    fn stdout(&self) -> Vec<u8> {
        self.0.bytes.lock().unwrap().0.clone()
    }

    fn stderr(&self) -> Vec<u8> {
        self.0.bytes.lock().unwrap().1.clone()
    }

    fn text(&self) -> String {
        String::from_utf8(self.stdout()).unwrap()
    }

    /// Waits until the step has written this to its standard output.
    async fn until(&self, text: &str) {
        let mut news = self.0.news.subscribe();
        let told = news.wait_for(|()| String::from_utf8_lossy(&self.stdout()).contains(text));
        tokio::time::timeout(std::time::Duration::from_secs(60), told).await.unwrap().unwrap();
    }
}

/// An image of busybox alone, made from the machine's own, because no registry can be relied on.
async fn busybox(engine: &Engine) -> Image {
    static MADE: OnceCell<()> = OnceCell::const_new();
    let name = "sandbox-test:busybox";
    MADE.get_or_init(|| async {
        if engine.docker().inspect_image(name).await.is_ok() {
            return;
        }
        let tools = std::process::Command::new("/bin/busybox").arg("--list").output().unwrap();
        let mut image = tar::Builder::new(Vec::new());
        file(&mut image, "bin/busybox", &std::fs::read("/bin/busybox").unwrap());
        for tool in String::from_utf8(tools.stdout).unwrap().lines().filter(|tool| *tool != "busybox") {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            image.append_link(&mut header, format!("bin/{tool}"), "/bin/busybox").unwrap();
        }
        import(engine, name, image.into_inner().unwrap()).await;
    })
    .await;
    engine.image(&ImageSource::Reference(name.to_owned()), GRANT, &mut |line| panic!("{line}")).await.unwrap()
}

fn file(image: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    image.append_data(&mut header, path, bytes).unwrap();
}

/// Makes an image of a tar, as `docker import` does.
async fn import(engine: &Engine, name: &str, tar: Vec<u8>) {
    let (repository, tag) = name.split_once(':').unwrap();
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(tag).build();
    let mut lines = engine.docker().create_image(Some(options), Some(bollard::body_full(tar.into())), None);
    while let Some(line) = lines.next().await {
        line.unwrap();
    }
}

/// An image that a test made, and that goes with it.
async fn forget(engine: &Engine, name: &str) {
    engine.docker().remove_image(name, None::<RemoveImageOptions>, None).await.unwrap();
}

/// The failure of what must fail because of the user.
#[track_caller]
fn failure<T>(result: Result<T, Trouble>) -> events::job::Failure {
    match result {
        Err(Trouble::User(failure)) => failure,
        Err(trouble) => panic!("not the user's: {trouble:?}"),
        Ok(_) => panic!("it worked"),
    }
}
