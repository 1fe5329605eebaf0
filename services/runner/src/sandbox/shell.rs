//! The shells of an image.
//!
//! Owns which shell runs a script. Never starts a process to find out: the engine looks into a container that is never
//! started. Invariant: each image is looked into once.

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::ContainerArchiveInfoOptionsBuilder;

use super::trouble::{is, startup};
use super::{Engine, Trouble};

const BASH: &str = "/bin/bash";
const SH: &str = "/bin/sh";

/// What an image has to run scripts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shell {
    /// What runs the scripts: bash if it is there.
    pub(super) scripts: &'static str,
    /// What runs the sandbox's own few lines: the lightest.
    pub(super) own: &'static str,
}

/// Looks into an image.
pub(super) async fn find(engine: &Engine, image: &str) -> Result<Option<Shell>, Trouble> {
    let doing = "look into the image";
    let _guard = engine.look().await;
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![SH.to_owned()]),
        labels: Some(engine.owner_labels()),
        ..Default::default()
    };
    let created = engine.docker().create_container(None, body).await;
    let id = created.map_err(|error| startup(engine.address(), doing, error))?.id;
    let found = futures::future::try_join(runs(engine, &id, BASH), runs(engine, &id, SH)).await;
    engine.remove(&id).await.map_err(Trouble::Engine)?;
    let (bash, sh) = found.map_err(|error| Trouble::Engine(engine.explain(doing, error)))?;
    Ok(match (bash, sh) {
        (true, true) => Some(Shell { scripts: BASH, own: SH }),
        (true, false) => Some(Shell { scripts: BASH, own: BASH }),
        (false, true) => Some(Shell { scripts: SH, own: SH }),
        (false, false) => None,
    })
}

/// Whether there is a program at this path, also behind a link.
async fn runs(engine: &Engine, container: &str, path: &str) -> Result<bool, bollard::errors::Error> {
    // The bits are those of Go's `fs.FileMode`: the kinds of file stand at the top.
    const KINDS: u32 = 0x8f28_0000;
    const LINK: u32 = 0x0800_0000;
    let mut path = path.to_owned();
    // The engine says where a link ends, so that one more look is enough.
    for _ in 0..2 {
        let options = ContainerArchiveInfoOptionsBuilder::new().path(&path).build();
        match engine.docker().get_container_archive_info(container, Some(options)).await {
            Ok(found) if found.file_mode & LINK != 0 => path = found.link_target,
            Ok(found) => return Ok(found.file_mode & KINDS == 0 && found.file_mode & 0o111 != 0),
            Err(error) if is(&error, 404) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
