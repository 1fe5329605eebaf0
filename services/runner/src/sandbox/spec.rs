//! What the engine is told about a container.
//!
//! Owns the container's limits, mounts and main process: all that a step may do is said in [`host_config`]. Never talks
//! to the engine. Invariant: no value of a user's stands where it could be taken for an option or a separator.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountType,
};

use super::limits::limit;
use super::shell::Shell;
use super::{ContainerSpec, Main, WORK};

/// Where the scripts are in a container.
const SCRIPTS: &str = "/.patchwave";

/// What a process that runs as root in a container may do beyond any other: what the package managers need to unpack
/// files of other owners (`CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `FSETID`, `SETFCAP`), and what it takes to become another
/// user (`SETGID`, `SETUID`) and to end that user's processes (`KILL`). No raw packets, which would go around the rules
/// of a network; no device nodes; no `chroot`.
const CAPABILITIES: [&str; 8] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETUID"];

/// Keeps a container alive and takes in its orphans. It reads an input that nobody writes to, in a child, because a shell
/// collects orphans only while it waits for a child. A signal to everybody in the container does not end it.
const IDLE: &str = "while (trap '' HUP INT QUIT TERM; read line); [ $? -gt 128 ]; do :; done";

/// Runs one script as the main process would be run by exec: as a child, because the first process of a container
/// ignores the signals that it has no handler for. The shell's own words about a child's death go nowhere.
const ONE: &str = r#"exec 3>&2 2>/dev/null; (exec "$0" "$1" 2>&3 3>&-); exit $?"#;

/// What the engine adds to what a step asks for.
pub(super) struct Given<'a> {
    pub(super) shell: Option<Shell>,
    pub(super) labels: HashMap<String, String>,
    /// The container whose network it joins.
    pub(super) network: &'a str,
    /// What runs it, unless it is what the engine runs all others with.
    pub(super) runtime: Option<&'a str>,
}

/// The whole description of a container.
pub(super) fn body(
    spec: &ContainerSpec<'_>,
    scripts: &Path,
    given: Given<'_>,
) -> Result<ContainerCreateBody> {
    let shell = given.shell;
    let own = |lines: &str| shell.map(|shell| vec![shell.own.to_owned(), "-c".to_owned(), lines.to_owned()]);
    let (entrypoint, cmd, env) = match &spec.main {
        Main::Idle => (own(IDLE), None, None),
        Main::Script { env, .. } => {
            let with = shell.map(|shell| vec![shell.scripts.to_owned(), script_path(0)]);
            (own(ONE), with, Some(env))
        }
        Main::Scripts { scripts, env } => {
            let with = |shell: Shell| {
                vec![
                    shell.scripts.to_owned(),
                    scripts.len().to_string(),
                    spec.workdir.clone(),
                    "0".to_owned(),
                ]
            };
            (own(super::scripts::LINES), shell.map(with), Some(env))
        }
        Main::Entrypoint { args, env } => (None, args.clone(), Some(env)),
        Main::Command { command, env } => {
            // An empty text takes the image's entrypoint away, as the command line of Docker does.
            (Some(vec![String::new()]), Some(command.clone()), Some(env))
        }
    };
    let idle = spec.main == Main::Idle;
    Ok(ContainerCreateBody {
        image: Some(spec.image.id.to_string()),
        // What an image says of its user cannot write the workspace, which is root's.
        user: Some("0:0".to_owned()),
        working_dir: Some(spec.workdir.clone()),
        entrypoint,
        cmd,
        env: env.map(|env| variables(env)),
        labels: Some(given.labels),
        open_stdin: Some(idle),
        attach_stdout: Some(!idle),
        attach_stderr: Some(!idle),
        // A check that an image brings would run beside the steps for nothing.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        host_config: Some(host_config(spec, scripts, (given.network, given.runtime))?),
        ..Default::default()
    })
}

/// What a container may do: the one place for limits and rights.
fn host_config(
    spec: &ContainerSpec<'_>,
    scripts: &Path,
    (network, runtime): (&str, Option<&str>),
) -> Result<HostConfig> {
    let mut mounts = vec![mount(spec.files, WORK, false)?, mount(scripts, SCRIPTS, true)?];
    for (from, to) in spec.cache_dirs {
        mounts.push(mount(from, to, false)?);
    }
    for (from, to) in spec.read_only_files {
        mounts.push(mount(from, to, true)?);
    }
    let config = HostConfig {
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        network_mode: Some(format!("container:{network}")),
        // Where the engine's own settings say otherwise, they are not what holds here.
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        runtime: runtime.map(str::to_owned),
        mounts: Some(mounts),
        // The output is read as it comes; the engine need not write it to its disk as well.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..Default::default()
    };
    Ok(limit(config, spec.limits))
}

/// Where something is mounted into a container.
pub(super) fn targets(spec: &ContainerSpec<'_>) -> Vec<PathBuf> {
    let given = spec.cache_dirs.iter().chain(spec.read_only_files).map(|(_, to)| to.as_str());
    [WORK, SCRIPTS].into_iter().chain(given).map(PathBuf::from).collect()
}

/// A mount by the engine's structured form, in which any character may stand.
fn mount(from: &Path, to: &str, read_only: bool) -> Result<Mount> {
    let from = std::path::absolute(from).with_context(|| format!("cannot find {}", from.display()))?;
    let from = from.to_str().with_context(|| format!("the path {} is not UTF-8", from.display()))?;
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(from.to_owned()),
        target: Some(to.to_owned()),
        read_only: Some(read_only),
        ..Default::default()
    })
}

/// Variables as the engine takes them.
pub(super) fn variables(env: &[(String, String)]) -> Vec<String> {
    env.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Makes a folder that a container can look into, whatever the runner's umask.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)));
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Writes a script for the container, and returns its path there. A file, because an argument may have no more than
/// 128 KiB, and because the standard input is the step's.
pub(super) fn put(scripts: &Path, number: u32, text: &str) -> Result<String> {
    let inside = script_path(number);
    let path = scripts.join(format!("script-{}", number + 1));
    let written = std::fs::write(&path, text)
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)));
    written.with_context(|| format!("cannot write the script {}", path.display()))?;
    Ok(inside)
}

fn script_path(number: u32) -> String {
    format!("{SCRIPTS}/script-{}", number + 1)
}
