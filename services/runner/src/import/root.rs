//! An image that is made of a root filesystem.
//!
//! Owns its configuration. Invariant: nothing in it but the bytes of the file, the processor and what stands here, so that
//! its id, which is the configuration's digest, is the same on every host and at any time.

use std::io::{self, Seek as _};

use anyhow::Result;
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::archive::Archive;

/// When all such images were made.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Where programs are found.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The name of the root filesystem in the archive for the engine.
const LAYER: &str = "layer.tar";

/// What the engine gets around a root filesystem.
pub(super) struct Root {
    pub(super) head: Bytes,
    pub(super) tail: Bytes,
}

#[derive(Serialize)]
struct Configuration<'a> {
    architecture: &'a str,
    config: Defaults,
    created: &'static str,
    history: [Made; 1],
    os: &'static str,
    rootfs: Layers,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Defaults {
    cmd: [&'static str; 1],
    env: [&'static str; 1],
}

#[derive(Serialize)]
struct Made {
    created: &'static str,
    created_by: &'static str,
}

#[derive(Serialize)]
struct Layers {
    diff_ids: [String; 1],
    r#type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    config: &'a str,
    repo_tags: [String; 1],
    layers: [&'static str; 1],
}

impl Root {
    /// The image with this name for this processor.
    pub(super) fn of(archive: &Archive, architecture: &str, name: &str) -> Result<Self> {
        let mut hasher = Hasher(Sha256::new());
        let mut file = &archive.file;
        io::copy(&mut file, &mut hasher)?;
        file.rewind()?;
        let configuration = Configuration {
            architecture,
            config: Defaults { cmd: ["/bin/sh"], env: [PATH] },
            created: CREATED,
            history: [Made { created: CREATED, created_by: "patchwave image import" }],
            os: "linux",
            rootfs: Layers {
                diff_ids: [format!("sha256:{}", hex::encode(hasher.0.finalize()))],
                r#type: "layers",
            },
        };
        let configuration = serde_json::to_vec(&configuration)?;
        let file_name = format!("{}.json", hex::encode(Sha256::digest(&configuration)));
        let (_, last) = name.rsplit_once('/').unwrap_or(("", name));
        let tagged = if last.contains(':') { name.to_owned() } else { format!("{name}:latest") };
        let list = [Listed { config: &file_name, repo_tags: [tagged], layers: [LAYER] }];
        let head = header(LAYER, archive.bytes)?;
        let mut tail = vec![0; (archive.bytes.next_multiple_of(512) - archive.bytes) as usize];
        let mut rest = tar::Builder::new(&mut tail);
        for (path, text) in
            [(file_name.as_str(), &configuration), ("manifest.json", &serde_json::to_vec(&list)?)]
        {
            rest.append(&header(path, text.len() as u64)?, &text[..])?;
        }
        rest.finish()?;
        drop(rest);
        Ok(Self { head: Bytes::copy_from_slice(head.as_bytes()), tail: tail.into() })
    }
}

fn header(path: &str, bytes: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path)?;
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(header)
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
