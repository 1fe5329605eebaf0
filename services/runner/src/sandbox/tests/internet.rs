//! An internet for a test: a network namespace that answers at public, private and metadata addresses.
//!
//! Owns what is added to the host for it, and takes it away when it is dropped. Only what comes from the networks that are
//! let in is sent there, so that the host's own traffic never is. One at a time on a host.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::fs::FlockOperation;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Who answers on the internet, and where the host is for it.
pub(super) const PUBLIC: &str = "203.0.113.2";
const GATEWAY: &str = "203.0.113.1";

/// Who answers names there, at a private address.
pub(super) const RESOLVER: &str = "10.213.77.53";

/// Private addresses of each kind, a cloud's metadata, and a host that a site keeps its jobs from. The engine gives none of
/// them to a network of its own: it begins at 172.17.0.0, and the last that it would give is 192.168.240.0/20.
pub(super) const PRIVATE: [&str; 7] = [
    "10.213.77.1",
    "172.16.77.1",
    "192.168.254.77",
    "100.64.77.1",
    "169.254.169.254",
    "168.63.129.16",
    "198.18.77.1",
];

/// Where the listeners listen.
pub(super) const PORT: u16 = 4_222;

/// The routing table with the way there.
const TABLE: &str = "7877";

const NAME: &str = "patchwave-internet";

/// An internet.
pub(super) struct Internet {
    _alone: File,
}

/// Runs a command that must work.
#[track_caller]
pub(super) fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs something in a network, for as long as the test runs.
fn inside(network: File, what: impl FnOnce() + Send + 'static) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        drop(network);
        ready.send(()).unwrap();
        what();
    });
    is_ready.recv().unwrap();
}

/// Says `reached` to whoever connects, at any address of the network. Port 0 is any.
pub(super) fn listen(network: Option<File>, port: u16) -> u16 {
    let (tell, told) = std::sync::mpsc::channel();
    let serve = move || {
        // Both families where the network has both.
        let listener =
            TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port))).unwrap();
        tell.send(listener.local_addr().unwrap().port()).unwrap();
        for connection in listener.incoming() {
            let _ = connection.and_then(|mut connection| connection.write_all(b"reached\n"));
        }
    };
    match network {
        Some(network) => inside(network, serve),
        None => drop(std::thread::spawn(serve)),
    }
    told.recv().unwrap()
}

/// The network of a process.
pub(super) fn network_of(pid: i64) -> File {
    File::open(format!("/proc/{pid}/ns/net")).unwrap()
}

impl Internet {
    /// Makes it, or waits until another test has done with its own.
    pub(super) fn new() -> Self {
        let alone = File::create(std::env::temp_dir().join(format!("{NAME}.lock"))).unwrap();
        rustix::fs::flock(&alone, FlockOperation::LockExclusive).unwrap();
        remove();
        let internet = Self { _alone: alone };
        run(&format!("ip netns add {NAME}"));
        run(&format!("ip link add pw-internet type veth peer name eth0 netns {NAME}"));
        run(&format!("ip addr add {GATEWAY}/30 dev pw-internet"));
        run("ip link set pw-internet up");
        // Answers from everywhere come this way.
        std::fs::write("/proc/sys/net/ipv4/conf/pw-internet/rp_filter", "0").unwrap();
        run(&format!("ip -n {NAME} link set lo up"));
        run(&format!("ip -n {NAME} addr add {PUBLIC}/30 dev eth0"));
        run(&format!("ip -n {NAME} link set eth0 up"));
        run(&format!("ip -n {NAME} route add default via {GATEWAY}"));
        for address in PRIVATE.iter().chain([&RESOLVER]) {
            run(&format!("ip -n {NAME} addr add {address}/32 dev lo"));
        }
        run(&format!("ip route add default via {PUBLIC} dev pw-internet table {TABLE}"));
        let network = || File::open(format!("/var/run/netns/{NAME}")).unwrap();
        listen(Some(network()), PORT);
        inside(network(), || {
            let socket = UdpSocket::bind((RESOLVER, 53)).unwrap();
            std::thread::spawn(move || resolve(&socket));
        });
        internet
    }

    /// Lets an address in, which reaches all that is there.
    pub(super) fn let_in(&self, address: &str) {
        // Its own network comes first, as it does for a host that is on it.
        run(&format!("ip rule add from {address} lookup {TABLE} priority {TABLE}"));
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        remove();
    }
}

/// Takes away what a test that was killed may have left.
fn remove() {
    let rules = || Command::new("ip").args(["rule", "del", "priority", TABLE]).output().unwrap();
    while rules().status.success() {}
    for arguments in [&["link", "del", "pw-internet"][..], &["netns", "del", NAME]] {
        let _ = Command::new("ip").args(arguments).output();
    }
}

/// Answers each question about a name with the public address (RFC 1035, section 4).
fn resolve(socket: &UdpSocket) {
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question) {
        let mut answer = question[..length].to_vec();
        let is_address = answer[length - 4..length - 2] == [0, 1];
        // An answer without an error, with one record if it is asked for an IPv4 address.
        answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_address)]);
        // No other records, also if the question had some.
        answer[8..12].fill(0);
        if is_address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(PUBLIC.parse::<Ipv4Addr>().unwrap().octets());
        }
        let _ = socket.send_to(&answer, from);
    }
}
