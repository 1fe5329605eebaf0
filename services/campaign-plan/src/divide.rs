//! A job's patch, divided among the changesets that its files go to.
//!
//! Owns the patches of the shares: each is the sections of its files, in the order of the whole. What is stored is named by
//! its content, so that doing it again changes nothing. A patch that one changeset gets whole is not touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::{BlobError, Broker};
use events::blob::{BlobKind, BlobRef};
use events::job::DiffStat;
use futures::{StreamExt as _, TryStreamExt as _};
use spec::Share;

use crate::changed_files::{Section, Touched};

/// How many patches are stored at the same time.
const STORED_AT_ONCE: usize = 8;

/// Why a patch has no shares.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DivideError {
    /// The broker.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// There are parts of it that belong to no file.
    #[error("its patch cannot be divided, because a part of it belongs to no file: run the action again")]
    Parts,
    /// No changeset could be applied without the other.
    #[error(
        "its patch cannot be divided: `{file}` is a file before or after, and `{below}` needs a folder in its place, but \
         they go to different branches: let one group of transformChanges take both"
    )]
    Place {
        /// The file.
        file: String,
        /// What is below it.
        below: String,
    },
}

/// The patch of each share, and how large it is.
pub(crate) async fn divide(
    broker: &Broker,
    (patch, diff_stat): (&BlobRef, DiffStat),
    touched: &Touched,
    shares: &[Share],
) -> Result<Vec<(BlobRef, DiffStat)>, DivideError> {
    if let [_] = shares {
        return Ok(vec![(patch.clone(), diff_stat)]);
    }
    if !is_covered(&touched.sections, patch.size) {
        return Err(DivideError::Parts);
    }
    if let Some((file, below)) = clash(&touched.sections, shares) {
        return Err(DivideError::Place { file: file.to_owned(), below: below.to_owned() });
    }
    let whole = Arc::new(broker.get_blob(patch).await?);
    let store = |share: &Share| {
        let sections: Vec<Section> = share.paths.iter().map(|at| touched.sections[*at].clone()).collect();
        store(broker.clone(), Arc::clone(&whole), sections)
    };
    let stored: Vec<_> = shares.iter().map(store).collect();
    futures::stream::iter(stored).buffered(STORED_AT_ONCE).try_collect().await
}

async fn store(
    broker: Broker,
    whole: Arc<Vec<u8>>,
    sections: Vec<Section>,
) -> Result<(BlobRef, DiffStat), DivideError> {
    let bytes: Vec<&[u8]> = sections.iter().map(|section| part(&whole, section)).collect();
    let blob = broker.put_blob(BlobKind::Patch, &bytes.concat()).await?;
    Ok((blob, size(&sections)))
}

/// A file that has the place of a folder of another share's file.
fn clash<'t>(sections: &'t [Section], shares: &[Share]) -> Option<(&'t str, &'t str)> {
    let mut places = BTreeMap::new();
    for (number, share) in shares.iter().enumerate() {
        places.extend(share.paths.iter().map(|at| (sections[*at].path.as_str(), number)));
    }
    let mut below = places.iter().flat_map(|(path, share)| {
        path.match_indices('/').map(move |(slash, _)| (&path[..slash], *path, *share))
    });
    below.find_map(|(file, below, share)| {
        places.get_key_value(file).filter(|(_, other)| **other != share).map(|(file, _)| (*file, below))
    })
}

/// Whether every byte belongs to a file.
fn is_covered(sections: &[Section], size: u64) -> bool {
    let end =
        sections.iter().try_fold(0, |end, section| (section.bytes.start == end).then_some(section.bytes.end));
    end == Some(size)
}

fn part<'p>(whole: &'p [u8], section: &Section) -> &'p [u8] {
    let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
    &whole[place(section.bytes.start)..place(section.bytes.end)]
}

fn size(sections: &[Section]) -> DiffStat {
    DiffStat {
        files: u32::try_from(sections.len()).unwrap_or(u32::MAX),
        insertions: sections.iter().map(|section| section.insertions).sum(),
        deletions: sections.iter().map(|section| section.deletions).sum(),
    }
}
