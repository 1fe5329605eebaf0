//! What steps mount: the files of an action, unpacked once for all jobs that want them.
//!
//! Owns the way from the archive to a path of this host. Invariant: a path that is given to the engine lies in the unpacked
//! files and is no link, also on its way, because the engine would follow one.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use archive::Limits;
use events::blob::BlobRef;

use crate::cache::{Folder, FolderCache};

const FILES: &str = "files";
const PACKED: &str = "packed";

/// An action's files. They stay on disk at least as long as somebody holds them.
pub(crate) struct Mounted(Arc<Folder>);

impl Mounted {
    /// The files of an archive. `fetch` writes its bytes, which are checked, to the path that it is given.
    pub(crate) async fn get<F, Fut>(folders: &FolderCache, blob: &BlobRef, fetch: F) -> Result<Self>
    where
        F: FnOnce(PathBuf) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        // More than the cache keeps at all is no use in it.
        let limits = Limits {
            packed_bytes: blob.size,
            unpacked_bytes: folders.limit_bytes(),
            ..Limits::of(blob.size)
        };
        let prepare = |dir: PathBuf| async move {
            std::fs::create_dir(&dir).context("cannot make a folder for an action's files")?;
            let packed = dir.join(PACKED);
            fetch(packed.clone()).await?;
            tokio::task::spawn_blocking(move || {
                let file = std::fs::File::open(&packed).context("an archive cannot be read")?;
                archive::unpack(file, &limits, &dir.join(FILES))?;
                std::fs::remove_file(&packed).context("an archive cannot be removed")
            })
            .await?
        };
        folders.get(format!("files-{}", blob.sha256), "files of an action", prepare).await.map(Self)
    }

    /// Where a path of the archive is on this host.
    pub(crate) fn place(&self, path: &str) -> Result<PathBuf> {
        let root =
            std::path::absolute(self.0.path().join(FILES)).context("cannot find the action's files")?;
        let mut place = root;
        for name in Path::new(path) {
            place.push(name);
            let meta =
                place.symlink_metadata().with_context(|| format!("the action's files lack `{path}`"))?;
            if meta.is_symlink() {
                bail!("`{path}` of the action's files is a link");
            }
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::atomic::{AtomicU32, Ordering};

    use archive::{Choice, Packed};

    use super::*;
    use crate::trash::Trash;

    /// A folder with a script, a link and a file, packed.
    fn packed(dir: &Path, script: &str) -> (BlobRef, Vec<u8>) {
        let from = dir.join("from");
        fs::create_dir_all(from.join("scripts")).unwrap();
        fs::write(from.join("scripts/run"), script).unwrap();
        fs::set_permissions(from.join("scripts/run"), fs::Permissions::from_mode(0o755)).unwrap();
        let _ = symlink("run", from.join("scripts/link"));
        let limits = Limits::of(1 << 20);
        let mut bytes = Vec::new();
        let choice = Choice::of(&from, &[Path::new("")], &limits).unwrap();
        let Packed { blob, .. } = choice.pack(&limits, &mut bytes).unwrap();
        (blob, bytes)
    }

    fn cache(dir: &Path, limit: u64) -> FolderCache {
        FolderCache::open(dir.join("cache"), limit, Trash::open(dir.join("trash")).unwrap()).unwrap()
    }

    async fn no_fetch(_: PathBuf) -> Result<()> {
        bail!("it should be there already")
    }

    #[tokio::test]
    async fn files_are_unpacked_once_and_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let (blob, bytes) = packed(dir.path(), "one");
        let fetched = AtomicU32::new(0);
        let folders = cache(dir.path(), u64::MAX);
        for _ in 0..2 {
            let fetch = |to: PathBuf| async {
                fetched.fetch_add(1, Ordering::Relaxed);
                Ok(fs::write(to, &bytes)?)
            };
            let mounted = Mounted::get(&folders, &blob, fetch).await.unwrap();
            let script = mounted.place("scripts/run").unwrap();
            assert_eq!(fs::read_to_string(&script).unwrap(), "one");
            assert_eq!(script.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
            assert!(mounted.place("").unwrap().join("scripts/link").is_symlink());
            assert!(mounted.place("scripts/link").is_err() && mounted.place("scripts/none").is_err());
        }
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
        assert!(Mounted::get(&cache(dir.path(), u64::MAX), &blob, no_fetch).await.is_ok());
    }

    #[tokio::test]
    async fn other_files_are_others_and_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let folders = cache(dir.path(), 20 << 10);
        let mut blobs = Vec::new();
        for script in ["one", "two", "three"] {
            let (blob, bytes) = packed(dir.path(), script);
            let fetch = |to: PathBuf| async { Ok(fs::write(to, &bytes)?) };
            let mounted = Mounted::get(&folders, &blob, fetch).await.unwrap();
            assert_eq!(fs::read_to_string(mounted.place("scripts/run").unwrap()).unwrap(), script);
            blobs.push(blob);
        }
        assert!(Mounted::get(&folders, &blobs[2], no_fetch).await.is_ok());
        assert!(Mounted::get(&folders, &blobs[0], no_fetch).await.is_err(), "it made room");
    }

    #[tokio::test]
    async fn an_archive_that_is_none_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (blob, bytes) = packed(dir.path(), "one");
        let folders = cache(dir.path(), u64::MAX);
        let fetch = |to: PathBuf| async { Ok(fs::write(to, &bytes[..bytes.len() - 1])?) };
        let error = Mounted::get(&folders, &blob, fetch).await.err().unwrap();
        assert!(matches!(error.downcast_ref(), Some(archive::Error::Refused(_))), "{error:#}");
        assert_eq!(fs::read_dir(dir.path().join("cache")).unwrap().count(), 0);
    }
}
