//! Sources: from a repository to its pinned commits, packed and stored.
//!
//! Owns what happens to one repository, one caller at a time, and how many are worked on at once. A host that does not
//! answer occupies its own places and nobody else's.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use broker::Broker;
use events::blob::BlobKind;
use events::git::Oid;
use events::id::RepositoryId;
use events::location::{Location, Remote};
use spec::WorkspaceRule;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, Semaphore};

use crate::heads::{Heads, Pin, pick};
use crate::known::{Known, Source, mark_used};
use crate::mirror::Mirror;
use crate::scope::Purpose;
use crate::trouble::{Skip, Trouble};
use crate::{local, pack, remote, workspaces};

/// How many processes may speak to one host at once.
const PER_HOST: usize = 8;

/// How often a repository is looked at again because its branch moved away between the look and the fetch.
const LOOKS: u32 = 3;

/// A repository that nobody ran over for this long loses its mirror.
const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A pinned branch with what a job starts from, or why there is none.
pub(crate) type Pinned = Result<(Pin, Source), Skip>;

/// The repositories' caches and the order in which they are worked on.
pub(crate) struct Sources {
    broker: Broker,
    mirrors: PathBuf,
    scratch: PathBuf,
    /// One for each process that makes work for this machine's cores.
    cores: Semaphore,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    turns: Mutex<HashMap<RepositoryId, Arc<Turn<()>>>>,
}

impl Sources {
    /// Opens the folder and removes what an earlier process left half done.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(crate) fn open(broker: Broker, dir: &Path) -> Result<Self> {
        let (mirrors, scratch) = (dir.join("mirrors"), dir.join("scratch"));
        let cannot = || format!("the catalog cannot use the folder {}", dir.display());
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch).with_context(cannot)?;
        }
        for folder in [&mirrors, &scratch] {
            std::fs::create_dir_all(folder).with_context(cannot)?;
        }
        forget_unused(&mirrors).with_context(cannot)?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            broker,
            mirrors,
            scratch,
            cores: Semaphore::new(2 * cores),
            hosts: Mutex::default(),
            turns: Mutex::default(),
        })
    }

    /// Waits until nobody else works on the repository.
    pub(crate) async fn turn(&self, id: RepositoryId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(id).or_default())
        };
        turn.lock_owned().await
    }

    /// Pins the branches that were asked for and stores what jobs start from, where there will be any. The caller has the
    /// repository's turn.
    pub(crate) async fn pin(
        &self,
        (id, location): (RepositoryId, &Location),
        asked: &[String],
        purpose: Purpose,
    ) -> Result<Vec<Pinned>, Trouble> {
        let mut looks = 1;
        let mut heads = self.look(location, asked).await?;
        loop {
            let picks = pick(&heads, asked);
            let pins: Vec<Pin> = picks.iter().filter_map(|pick| pick.as_ref().ok().cloned()).collect();
            match self.sources((id, location), &pins, purpose).await {
                Ok(sources) => return Ok(join(picks, &sources)),
                Err(Trouble::Skip(skip)) if looks < LOOKS => {
                    let again = self.look(location, asked).await?;
                    if again == heads {
                        return Err(Trouble::Skip(skip));
                    }
                    (heads, looks) = (again, looks + 1);
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    async fn look(&self, location: &Location, asked: &[String]) -> Result<Heads, Trouble> {
        match location {
            Location::Local(path) => {
                let _core = self.cores.acquire().await.context("the catalog is stopping")?;
                local::look(Path::new(path)).await
            }
            Location::Remote(remote) => {
                let host = self.host(remote);
                let _place = host.acquire().await.context("the catalog is stopping")?;
                remote::look(remote, asked).await
            }
        }
    }

    /// The sources of commits, made where they are not known or not at the broker any more.
    async fn sources(
        &self,
        (id, location): (RepositoryId, &Location),
        pins: &[Pin],
        purpose: Purpose,
    ) -> Result<BTreeMap<Oid, Source>, Trouble> {
        let stem = self.mirrors.join(id.token());
        let file = stem.with_extension("json");
        let mut known = Known::load(&file);
        let mut sources = BTreeMap::new();
        for (_, oid) in pins {
            if let Some(source) = known.get(oid)
                && self.suffices(source, purpose).await?
            {
                sources.insert(oid.clone(), source.clone());
            }
        }
        let missing: Vec<Pin> = pins.iter().filter(|(_, oid)| !sources.contains_key(oid)).cloned().collect();
        if !missing.is_empty() {
            let pack = |git_dir: PathBuf| self.pack_all(git_dir, &missing, purpose);
            sources.extend(self.read(&stem, location, &missing, pack).await?);
        }
        let mut news = false;
        for (branch, oid) in pins {
            news |= sources.get(oid).is_some_and(|source| known.set(branch, oid, source));
        }
        if news {
            known.save(&file)?;
        } else if let Err(error) = mark_used(&file) {
            tracing::debug!(%error, "the use of a repository could not be noted");
        }
        Ok(sources)
    }

    /// The roots that a rule gives in a pinned commit, looked for where they are not known. The caller has the repository's
    /// turn.
    pub(crate) async fn roots(
        &self,
        id: RepositoryId,
        location: &Location,
        pin: &Pin,
        rule: &WorkspaceRule,
    ) -> Result<Vec<String>, Trouble> {
        let stem = self.mirrors.join(id.token());
        let file = stem.with_extension("json");
        let mut known = Known::load(&file);
        if let Some(roots) = known.roots(&pin.1, &rule.root_at_location_of) {
            return Ok(roots.to_vec());
        }
        let list = |git_dir: PathBuf| async move {
            let _core = self.cores.acquire().await.context("the catalog is stopping")?;
            workspaces::roots(&git_dir, &pin.1, rule).await
        };
        let roots = self.read(&stem, location, std::slice::from_ref(pin), list).await?;
        known.set_roots(&pin.1, &rule.root_at_location_of, &roots);
        known.save(&file)?;
        Ok(roots)
    }

    /// Whether what is known is all that is needed.
    async fn suffices(&self, source: &Source, purpose: Purpose) -> Result<bool> {
        match (source, purpose) {
            (Source::Pack(blob), Purpose::Jobs) => {
                self.broker.has_blob(blob).await.context("looking for a source pack")
            }
            (Source::Unpacked, Purpose::Jobs) => Ok(false),
            (Source::Ignored, _) | (_, Purpose::Preview) => Ok(true),
        }
    }

    /// Reads commits where they are, those of a host once they are fetched.
    async fn read<T, F>(
        &self,
        stem: &Path,
        location: &Location,
        pins: &[Pin],
        read: impl FnOnce(PathBuf) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let Location::Remote(remote) = location else {
            return read(local::git_dir(Path::new(location.url()))).await;
        };
        let oid = pins.first().map(|(_, oid)| oid).context("nothing to fetch")?;
        let mirror = Mirror::new(stem, &self.scratch, oid);
        let git_dir = {
            let host = self.host(remote);
            let _place = host.acquire().await.context("the catalog is stopping")?;
            mirror.fetch(remote, pins).await?.to_owned()
        };
        match read(git_dir).await {
            // What was fetched just now should be whole: it is the mirror that is damaged, and the next try makes it anew.
            Err(Trouble::Skip(skip)) => {
                mirror.remove()?;
                Err(anyhow::anyhow!(skip.message).context("a mirror is damaged").into())
            }
            read => read,
        }
    }

    async fn pack_all(
        &self,
        git_dir: PathBuf,
        missing: &[Pin],
        purpose: Purpose,
    ) -> Result<BTreeMap<Oid, Source>, Trouble> {
        let mut sources = BTreeMap::new();
        for (_, oid) in missing {
            if !sources.contains_key(oid) {
                sources.insert(oid.clone(), self.pack(&git_dir, oid, purpose).await?);
            }
        }
        Ok(sources)
    }

    async fn pack(&self, git_dir: &Path, oid: &Oid, purpose: Purpose) -> Result<Source, Trouble> {
        let core = self.cores.acquire().await.context("the catalog is stopping")?;
        if pack::is_ignored(git_dir, oid).await? {
            return Ok(Source::Ignored);
        }
        if purpose == Purpose::Preview {
            return Ok(Source::Unpacked);
        }
        let file = pack::pack(git_dir, oid, &self.scratch).await?;
        drop(core);
        let blob = self.broker.put_blob_file(BlobKind::Source, file.path()).await;
        Ok(Source::Pack(blob.context("storing a source pack")?))
    }

    fn host(&self, remote: &Remote) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hosts.entry(remote.host.clone()).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST))))
    }
}

fn join(picks: Vec<Result<Pin, Skip>>, sources: &BTreeMap<Oid, Source>) -> Vec<Pinned> {
    let with = |pin: Pin| match sources.get(&pin.1) {
        Some(source) => Ok((pin.clone(), source.clone())),
        None => Err(Skip::unreachable("The branch's commit was not found. Run again.")),
    };
    picks.into_iter().map(|pick| pick.and_then(with)).collect()
}

/// Removes what belongs to repositories that nobody ran over for long.
fn forget_unused(mirrors: &Path) -> std::io::Result<()> {
    let mut unused: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(mirrors)? {
        let path = entry?.path();
        // The file beside a mirror says when it was last used; a mirror without one was never finished.
        let file = mirrors.join(path.file_name().map_or_else(String::new, |name| {
            let name = name.to_string_lossy();
            format!("{}.json", name.split('.').next().unwrap_or_default())
        }));
        let used = file.metadata().and_then(|meta| meta.modified());
        if used.map_or(true, |used| SystemTime::now().duration_since(used).is_ok_and(|age| age > KEEP)) {
            unused.push(path);
        }
    }
    for path in unused {
        if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
    }
    Ok(())
}
