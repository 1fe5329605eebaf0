//! Archives: packed from real folders, read from hostile bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is the test's failure")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use archive::{Choice, Error, Limits, Packed, check, unpack};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

const LIMITS: Limits = Limits::of(1_000_000);

fn choose(folder: &Path, wanted: &[&str]) -> Choice {
    let wanted: Vec<&Path> = wanted.iter().map(Path::new).collect();
    Choice::of(folder, &wanted, &LIMITS).unwrap()
}

fn pack(folder: &Path, wanted: &[&str]) -> (Packed, Vec<u8>) {
    let mut bytes = Vec::new();
    let packed = choose(folder, wanted).pack(&LIMITS, &mut bytes).unwrap();
    assert_eq!(packed.blob.size, bytes.len() as u64);
    (packed, bytes)
}

fn write(path: &Path, content: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What is in a folder: paths with what stands there.
fn listed(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let what = if meta.is_dir() {
                folders.push(path.clone());
                format!("folder {:o}", meta.permissions().mode() & 0o7777)
            } else if meta.is_symlink() {
                format!("link {}", fs::read_link(&path).unwrap().display())
            } else {
                let content = fs::read(&path).unwrap();
                format!("file {:o} {}", meta.permissions().mode() & 0o7777, String::from_utf8_lossy(&content))
            };
            found.push((path.strip_prefix(folder).unwrap().to_owned(), what));
        }
    }
    found.sort();
    found
}

fn paths(bytes: &[u8]) -> Vec<String> {
    let to = tempfile::tempdir().unwrap();
    unpack(bytes, &LIMITS, &to.path().join("x")).unwrap();
    let plain =
        |(path, what): (PathBuf, String)| (!what.starts_with("folder")).then(|| path.display().to_string());
    listed(&to.path().join("x")).into_iter().filter_map(plain).collect()
}

#[test]
fn only_what_is_mounted_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["a.batch.yaml", "scripts/run.sh", "scripts/lib/x", "other/secret", "README", "scripts-2/y"] {
        write(&dir.path().join(path), b"x", 0o644);
    }
    assert_eq!(paths(&pack(dir.path(), &["scripts"]).1), ["scripts/lib/x", "scripts/run.sh"]);
    assert_eq!(paths(&pack(dir.path(), &["scripts/lib", "README"]).1), ["README", "scripts/lib/x"]);
    assert_eq!(paths(&pack(dir.path(), &[""]).1).len(), 6);
}

#[test]
fn what_is_ignored_stays_and_a_mount_of_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("repository/.git")).unwrap();
    write(&at(".gitignore"), b"kept-*\n", 0o644);
    write(&at("repository/.gitignore"), b"*.log\nbuild/\n", 0o644);
    write(&at("repository/actions/.batchignore"), b"/scripts/data\n!keep.log\n", 0o644);
    for path in ["kept-run.sh", "a.log", "keep.log", "data/big", "build/x", "module/.git/config", ".hidden"] {
        write(&at(&format!("repository/actions/scripts/{path}")), b"x", 0o644);
    }
    let folder = at("repository/actions");
    let (_, bytes) = pack(&folder, &["scripts"]);
    assert_eq!(paths(&bytes), ["scripts/.hidden", "scripts/keep.log", "scripts/kept-run.sh"]);

    let choice = choose(&folder, &["scripts/build", "scripts/a.log", "scripts/keep.log"]);
    assert!(choice.refusal(Path::new("scripts/build")).unwrap().message.contains("ignored"));
    assert!(choice.refusal(Path::new("scripts/a.log")).unwrap().hint.contains(".batchignore"));
    assert_eq!(choice.refusal(Path::new("scripts/keep.log")), None);
}

#[test]
fn what_cannot_be_mounted_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("file"), b"x", 0o644);
    write(&dir.path().join("real/run.sh"), b"x", 0o755);
    symlink("real", dir.path().join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("real/pipe"), rustix::fs::Mode::RUSR).unwrap();
    let choice =
        choose(dir.path(), &["file", "real", "missing", "file/x", "link", "link/run.sh", "real/pipe"]);
    for (path, part) in [
        ("missing", "No such file"),
        ("file/x", "`file` is a file"),
        ("link", "`link` is a link"),
        ("link/run.sh", "`link` is a link"),
        ("real/pipe", "a pipe"),
    ] {
        let refusal = choice.refusal(Path::new(path)).unwrap();
        assert!(refusal.message.contains(part), "{path}: {refusal:?}");
    }
    assert_eq!(choice.refusal(Path::new("real")), None);
    assert_eq!(choice.left_out()[0].path, "real/pipe");
    assert_eq!(choice.files(), 2, "the file and the script, without the pipe");
}

#[test]
fn links_inside_are_kept_and_links_that_lead_out_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("scripts/lib/x"), b"x", 0o644);
    symlink("../lib/x", dir.path().join("scripts/lib/again")).unwrap();
    symlink("lib", dir.path().join("scripts/l")).unwrap();
    let to = tempfile::tempdir().unwrap();
    unpack(pack(dir.path(), &["scripts"]).1.as_slice(), &LIMITS, &to.path().join("x")).unwrap();
    assert_eq!(listed(&to.path().join("x")), listed(dir.path()));

    for target in ["/etc/passwd", "../../etc", "l/../../x"] {
        let link = dir.path().join("scripts/out");
        symlink(target, &link).unwrap();
        let wanted = [Path::new("scripts")];
        let Err(Error::Refused(rejection)) = Choice::of(dir.path(), &wanted, &LIMITS) else {
            panic!("{target} is taken");
        };
        assert!(
            rejection.message.contains("scripts/out") && rejection.message.contains(target),
            "{rejection:?}"
        );
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn the_bytes_depend_on_content_and_the_right_to_execute_alone() {
    let make = |mode: u32, content: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("s/run"), content, mode);
        write(&dir.path().join("s/a"), b"a", 0o600);
        let file = fs::File::options().append(true).open(dir.path().join("s/a")).unwrap();
        let random = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(fastrand());
        file.set_modified(random).unwrap();
        pack(dir.path(), &["s"]).0.blob.sha256
    };
    assert_eq!(make(0o755, b"x"), make(0o700, b"x"));
    assert_ne!(make(0o755, b"x"), make(0o644, b"x"));
    assert_ne!(make(0o755, b"x"), make(0o755, b"y"));
}

/// Something else each time.
fn fastrand() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn too_much_is_refused_before_it_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    let wanted = [Path::new("sparse")];
    let Err(Error::Refused(rejection)) = Choice::of(dir.path(), &wanted, &LIMITS) else {
        panic!("it is taken")
    };
    assert_eq!(rejection.code.as_str(), "files-too-large");

    // What does not compress is only known when it is packed.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1_100_000)
    .collect();
    fs::write(dir.path().join("noise"), noise).unwrap();
    let packed = choose(dir.path(), &["noise"]).pack(&LIMITS, &mut Vec::new());
    let Err(Error::Refused(rejection)) = packed else { panic!("it is packed") };
    assert!(rejection.message.contains("1.0 MB packed"), "{rejection:?}");
}

fn arbitrary_tree() -> impl Strategy<Value = Vec<(Vec<String>, Vec<u8>, bool)>> {
    let name = prop_oneof!["[a-c]", "[a-z .\n*'\"-]{1,12}x", "[a-z]{120}"];
    let path = prop::collection::vec(name, 1..4);
    let file = (path, prop::collection::vec(any::<u8>(), 0..700), any::<bool>());
    prop::collection::vec(file, 1..12)
}

/// Makes the files that can be made: a later one may want a folder where a file is.
fn plant(root: &Path, tree: &[(Vec<String>, Vec<u8>, bool)]) {
    for (path, content, executable) in tree {
        let full = path.iter().fold(root.to_owned(), |full, name| full.join(name));
        if fs::create_dir_all(full.parent().unwrap()).is_ok() && !full.exists() {
            fs::write(&full, content).unwrap();
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(&full, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_packed_comes_out_again_and_is_the_same_bytes_in_any_order(tree in arbitrary_tree()) {
        let (one, other, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(one.path(), &tree);
        unpack(pack(one.path(), &[""]).1.as_slice(), &LIMITS, &out.path().join("x")).unwrap();
        prop_assert_eq!(listed(one.path()), listed(&out.path().join("x")));
        // The same files made in the order of another walk.
        let mut files = listed(one.path());
        files.reverse();
        for (path, what) in files.iter().filter(|(_, what)| what.starts_with("file")) {
            let mode = if what.starts_with("file 755") { 0o755 } else { 0o644 };
            write(&other.path().join(path), &fs::read(one.path().join(path)).unwrap(), mode);
        }
        prop_assert_eq!(pack(one.path(), &[""]).1, pack(other.path(), &[""]).1);
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_write_outside(
        tree in arbitrary_tree(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (one, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(one.path(), &tree);
        let mut tar = zstd::decode_all(pack(one.path(), &[""]).1.as_slice()).unwrap();
        for (place, byte) in damage {
            let place = place.index(tar.len());
            tar[place] = byte;
        }
        mend_checksums(&mut tar);
        let damaged = zstd::encode_all(tar.as_slice(), 1).unwrap();
        let _ = unpack(damaged.as_slice(), &LIMITS, &out.path().join("x"));
        prop_assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
    }
}

/// Lets damaged headers pass for whole ones.
fn mend_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            let header: &mut [u8; 512] = block.try_into().unwrap();
            let mut mended = Header::from_byte_slice(header).clone();
            mended.set_cksum();
            header.copy_from_slice(mended.as_bytes());
        }
    }
}

/// An entry as an attacker writes it.
fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o4777);
    header.set_size(content.len() as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn hostile(build: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    build(&mut tar);
    zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let checked = check(bytes, &LIMITS, &[]);
    let unpacked = unpack(bytes, &LIMITS, &dir.path().join("x"));
    assert!(fs::read_dir(dir.path()).unwrap().count() <= 1, "something stands outside");
    match (checked, unpacked) {
        (Err(Error::Refused(one)), Err(Error::Refused(other))) => {
            assert_eq!(one, other);
            one.message
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn what_a_hostile_archive_tries_is_refused() {
    use EntryType as T;
    for name in ["/etc/x", "../x", "a/../../x", "./x", "a//x", "."] {
        let bytes = hostile(|tar| entry(tar, T::Regular, name, "", b"x"));
        assert!(refused(&bytes).contains("its path"), "{name}");
    }
    for target in ["/etc", "..", "a/../..", ""] {
        let bytes = hostile(|tar| entry(tar, T::Symlink, "link", target, b""));
        assert!(refused(&bytes).contains("a link"), "{target:?}");
    }
    for (kind, part) in [
        (T::Link, "hard link"),
        (T::Char, "a device"),
        (T::Block, "a device"),
        (T::Fifo, "a pipe"),
        (T::Continuous, "a type that is not taken"),
        (T::GNUSparse, "a type that is not taken"),
        (T::XHeader, "a type that is not taken"),
        (T::XGlobalHeader, "a type that is not taken"),
    ] {
        assert!(refused(&hostile(|tar| entry(tar, kind, "x", "a", b""))).contains(part), "{kind:?}");
    }
    let through_a_link = hostile(|tar| {
        entry(tar, T::Symlink, "a", "b", b"");
        entry(tar, T::Regular, "a/x", "", b"x");
    });
    assert!(refused(&through_a_link).contains("stands in no folder"));
    let over_a_link = hostile(|tar| {
        entry(tar, T::Symlink, "a", "b", b"");
        entry(tar, T::Regular, "a", "", b"x");
    });
    assert!(refused(&over_a_link).contains("stands twice"));
    let no_folder = hostile(|tar| entry(tar, T::Regular, "a/b", "", b"x"));
    assert!(refused(&no_folder).contains("stands in no folder"));
    let disorder = hostile(|tar| {
        entry(tar, T::Regular, "b", "", b"x");
        entry(tar, T::Regular, "a", "", b"x");
    });
    assert!(refused(&disorder).contains("order"));
    let content = hostile(|tar| entry(tar, T::Directory, "a", "", b"x"));
    assert!(refused(&content).contains("only files"));
}

#[test]
fn a_bomb_is_refused_in_bounded_memory() {
    let zeros = |bytes: u64| std::io::Read::take(std::io::repeat(0), bytes);
    let bomb = |kind: EntryType, size: u64| {
        let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.as_old_mut().name[..1].copy_from_slice(b"x");
        header.set_cksum();
        tar.append(&header, zeros(size)).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    };
    assert_eq!(
        refused(&bomb(EntryType::Regular, 20_000_000)),
        "the mounted files have more than 10.0 MB unpacked"
    );
    assert!(refused(&bomb(EntryType::GNULongName, 9_000_000)).contains("long name"));
    let mut after = zstd::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut zeros(20_000_000), &mut after).unwrap();
    assert!(refused(&after.finish().unwrap()).contains("unpacked"));

    let many = hostile(|tar| {
        for number in 0..20 {
            entry(tar, EntryType::Directory, &format!("{number:03}"), "", b"");
        }
    });
    let few = Limits { entries: 10, ..LIMITS };
    let Err(Error::Refused(rejection)) = check(many.as_slice(), &few, &[]) else { panic!("it is taken") };
    assert!(rejection.message.contains("more than 10 files"), "{rejection:?}");

    // A window that would take 128 MiB of memory.
    let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&vec![0; 1 << 20]).unwrap();
    assert!(refused(&wide.finish().unwrap()).contains("no tar archive"));
}

#[test]
fn a_damaged_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a"), &[7; 5_000], 0o644);
    let (_, bytes) = pack(dir.path(), &["a"]);
    assert!(refused(&bytes[..bytes.len() - 10]).contains("no tar archive"));
    assert!(refused(b"PK\x03\x04 something else").contains("no tar archive"));
    assert!(refused(b"").contains("no tar archive"));
    let tar = zstd::decode_all(bytes.as_slice()).unwrap();
    let cut = zstd::encode_all(&tar[..3_000], 1).unwrap();
    assert!(refused(&cut).contains("no tar archive"));
    let longer = zstd::encode_all([tar, b"more".to_vec()].concat().as_slice(), 1).unwrap();
    assert!(refused(&longer).contains("something follows"));
    let name_alone = hostile(|tar| entry(tar, EntryType::GNULongName, "x", "", b"name\0"));
    assert!(refused(&name_alone).contains("ends with the name"));
}

#[test]
fn wanted_paths_are_found() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("s/run"), b"x", 0o755);
    symlink("run", dir.path().join("s/link")).unwrap();
    let (_, bytes) = pack(dir.path(), &["s"]);
    let wanted = ["", "s", "s/run", "s/link", "s/ru", "run"].map(Path::new);
    let found = check(bytes.as_slice(), &LIMITS, &wanted).unwrap().found;
    assert_eq!(found, ["", "s", "s/run"].map(PathBuf::from));
}
