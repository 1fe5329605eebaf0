//! The firewall: how rules come into a network, and to the place where it meets the host.
//!
//! Owns the processes of `iptables`. Never changes a rule that is not its own. Invariant: rules meant for the inside of a
//! network are never loaded on the host: the network is proven to be the container's first.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::rules::{self, Policy};

/// Where programs of the system are that a service's path may leave out.
const PATHS: &str = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin";

/// How long to wait for others that change rules.
const WAIT_SECONDS: &str = "10";

/// The network of a container's process.
pub(super) struct Inside<'a> {
    pub(super) container: &'a str,
    /// Its process on this host.
    pub(super) pid: i64,
}

/// Loads the rules into a network. Blocks.
///
/// # Errors
/// When the container is not on this host, or its rules cannot be changed.
pub(super) fn close_inside(inside: &Inside<'_>, policy: &Policy) -> Result<()> {
    let network = open(inside)?;
    let rules = policy.inside(&host_addresses()?);
    // A thread of its own, because it stays in that network to its end.
    let loaded = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                .context("cannot enter the network")?;
            load("iptables-restore", &[], &rules)?;
            if speaks_ipv6() { load("ip6tables-restore", &[], rules::INSIDE_V6) } else { Ok(()) }
        });
        load.join()
    });
    loaded.unwrap_or_else(|_| bail!("the thread that loads the rules ended early"))
}

/// Opens a container's network, which is certainly that and not the host's.
fn open(inside: &Inside<'_>) -> Result<File> {
    let elsewhere = "the container engine does not run on this host: its networks cannot be closed from here";
    let process = Path::new("/proc").join(inside.pid.to_string());
    let network = File::open(process.join("ns/net")).context(elsewhere)?;
    // The process is looked at after its network was opened: it is the same one, because its container goes on.
    let groups = std::fs::read_to_string(process.join("cgroup")).context(elsewhere)?;
    ensure!(groups.contains(inside.container), elsewhere);
    let own = std::fs::metadata("/proc/self/ns/net").context("cannot look at the host's network")?;
    ensure!(network.metadata()?.ino() != own.ino(), "the container has no network of its own");
    Ok(network)
}

/// Whether the network of the calling thread knows IPv6 at all.
fn speaks_ipv6() -> bool {
    Path::new("/proc/thread-self/net/if_inet6").exists()
}

fn host_addresses() -> Result<Vec<Ipv4Addr>> {
    let trie = std::fs::read_to_string("/proc/net/fib_trie").context("cannot list this host's addresses")?;
    Ok(rules::local_addresses(&trie))
}

/// The resolvers that this host uses.
pub(super) fn host_resolvers() -> Vec<Ipv4Addr> {
    // The second is where systemd says what stands behind its own resolver on the loopback.
    let named = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .into_iter()
        .map(|path| std::fs::read_to_string(path).map(|text| rules::resolvers(&text)).unwrap_or_default());
    named.into_iter().find(|resolvers| !resolvers.is_empty()).unwrap_or_default()
}

/// The place where a bridge meets the host.
pub(super) struct Outside<'a> {
    pub(super) bridge: &'a str,
    pub(super) chain: &'a str,
}

impl Outside<'_> {
    /// Loads the rules, in place of those of an earlier runner. Blocks.
    ///
    /// # Errors
    /// When the host's rules cannot be changed.
    pub(super) fn close(&self, policy: &Policy) -> Result<()> {
        let Self { bridge, chain } = self;
        load("iptables-restore", &["--noflush"], &policy.outside(chain))?;
        if !self.jumps("iptables", chain)? {
            let jump = format!("*mangle\n-I PREROUTING 1 -i {bridge} -j {chain}\nCOMMIT\n");
            load("iptables-restore", &["--noflush"], &jump)?;
        }
        if speaks_ipv6() && !self.jumps("ip6tables", "DROP")? {
            let drop = format!("*mangle\n-I PREROUTING 1 -i {bridge} -j DROP\nCOMMIT\n");
            load("ip6tables-restore", &["--noflush"], &drop)?;
        }
        Ok(())
    }

    /// Whether the rules are still there. Blocks.
    pub(super) fn is_closed(&self) -> Result<bool> {
        Ok(self.jumps("iptables", self.chain)? && (!speaks_ipv6() || self.jumps("ip6tables", "DROP")?))
    }

    /// Takes the rules away again, as far as they are there. Blocks.
    pub(super) fn open(&self) -> Result<()> {
        let Self { bridge, chain } = self;
        if self.jumps("iptables", chain)? {
            let without = format!("*mangle\n-D PREROUTING -i {bridge} -j {chain}\nCOMMIT\n");
            load("iptables-restore", &["--noflush"], &without)?;
        }
        if asked("iptables", &["-S", chain])? {
            let without = format!("*mangle\n-F {chain}\n-X {chain}\nCOMMIT\n");
            load("iptables-restore", &["--noflush"], &without)?;
        }
        if speaks_ipv6() && self.jumps("ip6tables", "DROP")? {
            let without = format!("*mangle\n-D PREROUTING -i {bridge} -j DROP\nCOMMIT\n");
            load("ip6tables-restore", &["--noflush"], &without)?;
        }
        Ok(())
    }

    /// Whether what comes from the bridge goes to the target.
    fn jumps(&self, program: &str, target: &str) -> Result<bool> {
        asked(program, &["-C", "PREROUTING", "-i", self.bridge, "-j", target])
    }
}

/// The ends of the names of all bridges and chains that the host's rules speak of. Blocks.
///
/// # Errors
/// When the rules cannot be listed.
pub(super) fn digests() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let families = ["iptables", "ip6tables"].into_iter().take(if speaks_ipv6() { 2 } else { 1 });
    for program in families {
        let output = ask(program, &["-S"])?;
        ensure!(output.status.success(), complaint(program, &output));
        found.extend(rules::digests(&String::from_utf8_lossy(&output.stdout)));
    }
    Ok(found)
}

/// Whether it is so, as the program says by its exit code.
fn asked(program: &str, question: &[&str]) -> Result<bool> {
    let output = ask(program, question)?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1 | 2) if !denied(&output) => Ok(false),
        _ => bail!(complaint(program, &output)),
    }
}

fn ask(program: &str, question: &[&str]) -> Result<Output> {
    let mut command = command(program);
    command.args(["-w", WAIT_SECONDS, "-t", "mangle"]).args(question);
    run(command, program, "")
}

fn load(program: &str, options: &[&str], rules: &str) -> Result<()> {
    let mut command = command(program);
    command.args(["-w", WAIT_SECONDS]).args(options);
    let output = run(command, program, rules)?;
    ensure!(output.status.success(), complaint(program, &output));
    Ok(())
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").map_or_else(|_| PATHS.to_owned(), |path| format!("{path}:{PATHS}"));
    command.env_clear().env("PATH", path).env("LC_ALL", "C");
    command
}

fn run(mut command: Command, program: &str, input: &str) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let missing = || format!("`{program}` cannot be started: install the package `iptables`");
    let mut child = command.spawn().with_context(missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends early says why by its exit code.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().with_context(|| format!("`{program}` cannot be waited for"))
}

fn denied(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("ermission denied")
}

fn complaint(program: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(400).collect();
    let advice = if denied(output) { ": run the runner as root" } else { "" };
    format!("`{program}` ended with {}{advice}: {said}", output.status)
}
