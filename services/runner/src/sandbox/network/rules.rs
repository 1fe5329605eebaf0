//! The rules of a network: what a job may reach and what not, in the form that `iptables-restore` reads.
//!
//! Pure. Owns the list of what is out of reach, which is written twice. *Inside* the network of a slot it is refused at
//! once, so that a step does not wait for an answer that never comes, and whoever loads the host's rules anew does not
//! open it. *Outside*, where the network meets the host, it is dropped: also raw packets and runtimes with a network stack
//! of their own, which know no rules inside. Invariant: nothing goes over IPv6, and nothing to an address of the host's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// What is no public address (IANA, special-purpose address registry), and what clouds answer on beside those. The
/// ranges of documentation are nowhere and left out.
const OUT_OF_REACH: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    // The metadata of most clouds is here.
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    // The host agent of Azure.
    "168.63.129.16/32",
];

/// How the names of bridges and of their chains begin.
pub(super) const DEVICE: &str = "pw-";
pub(super) const CHAIN: &str = "PATCHWAVE-";

/// The rules inside for what comes in, and for what stays inside.
const INSIDE: &str = "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A OUTPUT -o lo -j ACCEPT
";

/// The rules inside for IPv6: nothing but the network's own loopback.
pub(super) const INSIDE_V6: &str = "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A OUTPUT -o lo -j ACCEPT
COMMIT
";

/// What a site says about its networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    /// Within reach although it would not be; never an address of the host's.
    pub(super) allow: Vec<Ipv4Net>,
    /// Out of reach as well.
    pub(super) deny: Vec<Ipv4Net>,
    /// Who answers questions about names; asked for nothing else.
    pub(super) resolvers: Vec<Ipv4Addr>,
}

#[derive(Clone, Copy)]
enum Verdict {
    Pass,
    Stop,
}

impl Policy {
    /// The table `filter` inside a slot's network, where `host` are the host's addresses.
    pub(super) fn inside(&self, host: &[Ipv4Addr]) -> String {
        let host = host.iter().map(|address| format!("-d {address}")).collect();
        let rules = self.verdicts(host).into_iter().map(|(which, verdict)| match verdict {
            Verdict::Pass => format!("-A OUTPUT {which} -j ACCEPT\n"),
            Verdict::Stop => format!("-A OUTPUT {which} -j REJECT --reject-with icmp-admin-prohibited\n"),
        });
        format!("{INSIDE}{}COMMIT\n", rules.collect::<String>())
    }

    /// The chain of the table `mangle` for what comes from a bridge. It is passed before addresses are translated, and
    /// knows by itself which are the host's.
    pub(super) fn outside(&self, chain: &str) -> String {
        let host = vec!["-m addrtype --dst-type LOCAL".to_owned()];
        let rules = self.verdicts(host).into_iter().map(|(which, verdict)| match verdict {
            Verdict::Pass => format!("-A {chain} {which} -j RETURN\n"),
            Verdict::Stop => format!("-A {chain} {which} -j DROP\n"),
        });
        format!("*mangle\n:{chain} - [0:0]\n{}COMMIT\n", rules.collect::<String>())
    }

    /// The first that fits decides: names may be asked for, the host comes before what a site allows, and that before
    /// all else.
    fn verdicts(&self, host: Vec<String>) -> Vec<(String, Verdict)> {
        let resolvers = self.resolvers.iter().flat_map(|resolver| {
            ["udp", "tcp"].map(|protocol| (format!("-d {resolver} -p {protocol} --dport 53"), Verdict::Pass))
        });
        let stops = self.deny.iter().map(ToString::to_string);
        let stops = stops.chain(OUT_OF_REACH.iter().map(|&net| net.to_owned()));
        resolvers
            .chain(host.into_iter().map(|which| (which, Verdict::Stop)))
            .chain(self.allow.iter().map(|net| (format!("-d {net}"), Verdict::Pass)))
            .chain(stops.map(|net| (format!("-d {net}"), Verdict::Stop)))
            .collect()
    }
}

/// The ends of the names of all bridges and chains that a host's rules speak of, in the form of `iptables -S`.
pub(super) fn digests(rules: &str) -> BTreeSet<String> {
    let ends = rules.split_whitespace().filter_map(|word| {
        word.strip_prefix(CHAIN).or_else(|| word.strip_prefix(DEVICE)).filter(|end| is_digest(end))
    });
    ends.map(str::to_owned).collect()
}

fn is_digest(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The IPv4 addresses of a host, as its kernel lists them in `/proc/net/fib_trie`: a line with the address, and below it
/// one that says what it is.
pub(super) fn local_addresses(trie: &str) -> Vec<Ipv4Addr> {
    let mut last = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found
                .extend(last.filter(|address: &Ipv4Addr| !address.is_loopback() && !found.contains(address)));
        }
    }
    found
}

/// The resolvers that a `resolv.conf` names and that a network can reach: none of the host's own loopback, which the
/// engine asks by itself.
pub(super) fn resolvers(resolv_conf: &str) -> Vec<Ipv4Addr> {
    let named = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    named
        .filter_map(|address| address.trim().parse().ok())
        .filter(|address: &Ipv4Addr| !address.is_loopback())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn the_host_is_out_of_reach_whatever_a_site_allows() {
        let policy = Policy {
            allow: vec!["10.1.0.0/16".parse().unwrap()],
            deny: vec!["203.0.113.7/32".parse().unwrap()],
            resolvers: vec![[10, 0, 0, 53].into()],
        };
        for rules in [policy.inside(&[[10, 1, 0, 1].into()]), policy.outside("CHAIN")] {
            let at = |text: &str| rules.find(text).unwrap_or_else(|| panic!("{text} is not in {rules}"));
            let host = if rules.contains("addrtype") { "--dst-type LOCAL" } else { "-d 10.1.0.1 " };
            let order = [
                "-d 10.0.0.53 -p tcp --dport 53",
                host,
                "-d 10.1.0.0/16",
                "-d 203.0.113.7/32",
                "-d 10.0.0.0/8",
            ];
            assert!(order.map(at).is_sorted(), "{rules}");
            assert!(rules.ends_with("COMMIT\n"));
        }
    }

    #[test]
    fn each_range_is_a_network_of_its_own() {
        let nets: Vec<Ipv4Net> = OUT_OF_REACH.iter().map(|net| net.parse().unwrap()).collect();
        assert!(nets.iter().all(|net| net.trunc() == *net));
        for address in [
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "172.31.255.255",
            "255.255.255.255",
        ] {
            let address: Ipv4Addr = address.parse().unwrap();
            assert!(nets.iter().any(|net| net.contains(&address)), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "169.253.255.255", "223.255.255.255"] {
            let address: Ipv4Addr = address.parse().unwrap();
            assert!(!nets.iter().any(|net| net.contains(&address)), "{address}");
        }
    }

    #[test]
    fn chains_and_bridges_are_found_among_the_rules_of_others() {
        let rules = "-P PREROUTING ACCEPT\n-N PATCHWAVE-0123456789ab\n-N DOCKER-USER\n-N PATCHWAVE-MINE\n\
                     -A PREROUTING -i pw-0123456789ab -j PATCHWAVE-0123456789ab\n-A PREROUTING -i pw-ba9876543210 -j DROP\n\
                     -A PREROUTING -i pw-0123456789AB -j DROP\n-A PREROUTING -i pw-0 -j DROP\n";
        assert_eq!(digests(rules), ["0123456789ab", "ba9876543210"].map(str::to_owned).into());
    }

    #[test]
    fn what_the_host_says_is_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n     \
             |-- 192.0.2.2\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\nLocal:\n     |-- 192.0.2.2\n        \
             /32 host LOCAL\n";
        assert_eq!(local_addresses(trie), [Ipv4Addr::new(192, 0, 2, 2)]);
        let conf =
            "# by hand\nnameserver 127.0.0.53\nnameserver\t10.0.0.2\nnameserver fe80::1%eth0\nsearch x\n";
        assert_eq!(resolvers(conf), [Ipv4Addr::new(10, 0, 0, 2)]);
    }
}
