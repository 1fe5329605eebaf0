//! Reading an archive: every entry checked before anybody sees it.
//!
//! Owns all that a hostile archive can try: paths that lead out, links, devices, duplicates, a bomb. The memory that it
//! takes does not depend on what the archive says. Long names are read here and not by the library, which would take as
//! much memory as an archive asks for.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::{Archive, EntryType};
use zstd::stream::read::Decoder;

use crate::error::Error;
use crate::limits::Limits;
use crate::path::{self, EntryPath, MAX_PATH};

/// The largest window of a compressed archive, as a power of two: 8 MiB, as the strongest usual settings have.
const WINDOW_LOG: u32 = 23;

/// What an entry is.
pub(crate) enum Kind {
    Folder,
    File { executable: bool, bytes: u64 },
    Link { target: PathBuf },
}

/// What was found in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many plain files and links there are.
    pub files: u64,
    /// How many bytes the files have.
    pub bytes: u64,
    /// Which of the wanted paths are there, as a file or a folder.
    pub found: Vec<PathBuf>,
}

/// An entry as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it stands in the folder.
    pub path: PathBuf,
    /// What it is.
    pub kind: ListedKind,
    /// How many bytes a file has; 0 of anything else.
    pub bytes: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A file that may be executed.
    Executable,
    /// A link.
    Link,
}

impl ListedKind {
    /// The name in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
            Self::Executable => "executable",
            Self::Link => "link",
        }
    }
}

/// Lists an archive, in the order of its paths.
///
/// # Errors
/// As [`check`], and whatever `each` says, which ends the list.
pub fn list(
    archive: impl Read,
    limits: &Limits,
    mut each: impl FnMut(Listed) -> Result<(), Error>,
) -> Result<Contents, Error> {
    read(archive, limits, |entry, kind, _| {
        let (kind, bytes) = match kind {
            Kind::Folder => (ListedKind::Folder, 0),
            Kind::File { executable: false, bytes } => (ListedKind::File, *bytes),
            Kind::File { executable: true, bytes } => (ListedKind::Executable, *bytes),
            Kind::Link { .. } => (ListedKind::Link, 0),
        };
        each(Listed { path: entry.to_path(), kind, bytes })
    })
}

/// Checks an archive to its end, and looks for paths in it; the folder itself, an empty path, is always there.
///
/// # Errors
/// When it is not what [`crate`] says, or cannot be read.
pub fn check(archive: impl Read, limits: &Limits, wanted: &[&Path]) -> Result<Contents, Error> {
    let empty = Path::new("");
    let mut wanted: HashMap<&Path, bool> = wanted.iter().map(|path| (*path, *path == empty)).collect();
    let mut contents = read(archive, limits, |entry, kind, _| {
        if let (Some(found), Kind::Folder | Kind::File { .. }) =
            (wanted.get_mut(entry.to_path().as_path()), kind)
        {
            *found = true;
        }
        Ok(())
    })?;
    contents.found =
        wanted.into_iter().filter(|(_, found)| *found).map(|(path, _)| path.to_owned()).collect();
    contents.found.sort();
    Ok(contents)
}

/// Reads an archive to its end. `visit` gets each entry with its content, which it need not read.
pub(crate) fn read(
    archive: impl Read,
    limits: &Limits,
    mut visit: impl FnMut(&EntryPath, &Kind, &mut dyn Read) -> Result<(), Error>,
) -> Result<Contents, Error> {
    let packed = Counted::new(archive, limits.packed_bytes, true);
    let mut decoder = Decoder::new(packed).map_err(Error::reading)?;
    decoder.window_log_max(WINDOW_LOG).map_err(Error::reading)?;
    let mut archive = Archive::new(Counted::new(decoder, limits.unpacked_bytes, false));
    let mut contents = Contents::default();
    let mut order = Order::default();
    let mut long = LongNames::default();
    let mut entries = 0;
    for entry in archive.entries().map_err(Error::reading)?.raw(true) {
        let mut entry = entry.map_err(Error::reading)?;
        if long.take(&mut entry)? {
            continue;
        }
        entries += 1;
        if entries > limits.entries {
            return Err(limits.too_many_entries().into());
        }
        let (path, kind) = identify(&entry, std::mem::take(&mut long))?;
        order.check(&path, &kind)?;
        let size = entry.size();
        let mut content = Content { from: &mut entry, left: size };
        visit(&path, &kind, &mut content)?;
        content.finish().map_err(Error::reading)?;
        contents.files += u64::from(!matches!(kind, Kind::Folder));
        contents.bytes += size;
    }
    if long != LongNames::default() {
        return Err(Error::invalid("the archive ends with the name of an entry that is missing"));
    }
    finish(archive.into_inner())?;
    Ok(contents)
}

/// Nothing but the zeros of the end may follow.
fn finish(mut rest: impl Read) -> Result<(), Error> {
    let mut buffer = [0; 8 * 1024];
    loop {
        match rest.read(&mut buffer).map_err(Error::reading)? {
            0 => return Ok(()),
            read if buffer[..read].iter().any(|byte| *byte != 0) => {
                return Err(Error::invalid("something follows the end of the archive"));
            }
            _ => {}
        }
    }
}

fn identify<R: Read>(entry: &tar::Entry<'_, R>, long: LongNames) -> Result<(EntryPath, Kind), Error> {
    let header = entry.header();
    let entry_type = header.entry_type();
    let mut name = long.name.unwrap_or_else(|| header.path_bytes().into_owned());
    if entry_type == EntryType::Directory && name.len() > 1 && name.ends_with(b"/") {
        name.pop();
    }
    let refuse = |why: &str| Error::invalid(format!("the entry `{}` is refused: {why}", path::shown(&name)));
    let path = EntryPath::parse(&name).map_err(refuse)?;
    let kind = match entry_type {
        EntryType::Directory => Kind::Folder,
        EntryType::Regular => {
            let mode = header.mode().map_err(|_| refuse("its mode is no number"))?;
            return Ok((path, Kind::File { executable: mode & 0o111 != 0, bytes: entry.size() }));
        }
        EntryType::Symlink => {
            let target = long.target.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
            let target = target.unwrap_or_default();
            if let Some(problem) = path::link_problem(&path, &target) {
                return Err(refuse(&format!("it is {problem}")));
            }
            use std::os::unix::ffi::OsStringExt as _;
            Kind::Link { target: std::ffi::OsString::from_vec(target).into() }
        }
        EntryType::Link => return Err(refuse("it is a hard link")),
        EntryType::Char | EntryType::Block => return Err(refuse("it is a device")),
        EntryType::Fifo => return Err(refuse("it is a pipe")),
        other => {
            let message = format!("it is of a type that is not taken, `{}`", other.as_byte().escape_ascii());
            return Err(refuse(&message));
        }
    };
    if entry.size() != 0 {
        return Err(refuse("only files may have content"));
    }
    Ok((path, kind))
}

/// The names that GNU tar writes before an entry whose own are too long for its header.
#[derive(Default, PartialEq, Eq)]
struct LongNames {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl LongNames {
    /// Takes an entry in if it is such a name.
    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<bool, Error> {
        let place = match entry.header().entry_type() {
            EntryType::GNULongName => &mut self.name,
            EntryType::GNULongLink => &mut self.target,
            _ => return Ok(false),
        };
        // One byte more for the NUL at its end.
        if place.is_some() || entry.size() > MAX_PATH as u64 + 1 {
            return Err(Error::invalid("a long name is given twice, or longer than 1,024 bytes"));
        }
        let mut name = Vec::new();
        entry.read_to_end(&mut name).map_err(Error::reading)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        *place = Some(name);
        Ok(true)
    }
}

/// The order of paths, which shows a duplicate and a missing folder without remembering all that was there.
#[derive(Default)]
struct Order {
    last: Option<EntryPath>,
    /// The names of the folder whose entries come.
    folder: Vec<Vec<u8>>,
}

impl Order {
    fn check(&mut self, path: &EntryPath, kind: &Kind) -> Result<(), Error> {
        if self.last.as_ref().is_some_and(|last| last >= path) {
            let message = format!("the entry `{}` stands twice or not in the order of paths", path.shown());
            return Err(Error::invalid(message));
        }
        let parent = path.parent();
        if !self.folder.starts_with(parent) {
            let message = format!("the entry `{}` stands in no folder of the archive", path.shown());
            return Err(Error::invalid(message));
        }
        self.folder.truncate(parent.len());
        if matches!(kind, Kind::Folder) {
            self.folder = path.names().to_vec();
        }
        self.last = Some(path.clone());
        Ok(())
    }
}

/// The content of one entry, which must be as long as its header says.
struct Content<'a> {
    from: &'a mut dyn Read,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Content<'_> {
    /// Reads what is left.
    fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        if self.left == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Bytes that are counted, and refused when they are too many.
struct Counted<R> {
    from: R,
    limit: u64,
    left: u64,
    packed: bool,
}

impl<R> Counted<R> {
    fn new(from: R, limit: u64, packed: bool) -> Self {
        Self { from, limit, left: limit, packed }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(Limits::too_many_bytes(self.limit, self.packed))),
        }
        Ok(read)
    }
}
