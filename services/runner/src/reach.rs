//! Reach: what jobs may speak to.
//!
//! Owns what a site says about it, and how that limits what an action asks for. How it is enforced is the sandbox's.

use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;

/// What can be reached, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Nothing.
    None,
    /// The public internet over IPv4: no private address, and none of this host's.
    #[default]
    Egress,
    /// All that this host reaches, itself included.
    Unrestricted,
}

impl Reach {
    /// What a job gets that asks for this where a site allows at most `most`. What asks for nothing asks for the internet.
    pub(crate) fn granted(asked: Option<spec::Network>, most: Self) -> Self {
        match asked {
            Some(spec::Network::None) => Self::None,
            Some(spec::Network::Egress) | None => most,
        }
    }
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "egress" => Ok(Self::Egress),
            "unrestricted" => Ok(Self::Unrestricted),
            _ => Err("it is `none`, `egress` or `unrestricted`".to_owned()),
        }
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range(pub(crate) Ipv4Net);

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse().or_else(|_| text.parse::<Ipv4Addr>().map(Ipv4Net::from));
        let net: Ipv4Net =
            net.map_err(|_| "it is an IPv4 address or a range such as 10.1.0.0/16".to_owned())?;
        Ok(Self(net.trunc()))
    }
}

/// Somebody whom jobs must not reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// By addresses.
    Range(Range),
    /// By name.
    Host(String),
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(range) = text.parse() {
            return Ok(Self::Range(range));
        }
        let is_name = |text: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        // No name ends with a number, so that an address with a slip is not taken for one (RFC 3696, section 2).
        let numeric =
            text.split('.').next_back().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
        if is_name(text) && !numeric {
            Ok(Self::Host(text.to_owned()))
        } else {
            Err("it is a host's name, an IPv4 address or a range such as 203.0.113.0/24".to_owned())
        }
    }
}

/// What a site says about the networks of its jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The most that a job may reach, whatever its action asks for.
    pub most: Reach,
    /// Private addresses that jobs may reach all the same.
    pub allow: Vec<Range>,
    /// Public addresses that they may not, such as the broker's.
    pub deny: Vec<Peer>,
    /// Who looks names up; empty: those of this host.
    pub resolvers: Vec<Ipv4Addr>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn a_site_limits_what_an_action_asks_for() {
        use spec::Network::{Egress, None as Nothing};
        assert_eq!(Reach::granted(Some(Nothing), Reach::Unrestricted), Reach::None);
        assert_eq!(Reach::granted(Some(Egress), Reach::None), Reach::None);
        assert_eq!(Reach::granted(None, Reach::Egress), Reach::Egress);
        assert_eq!(Reach::granted(None, NetworkSettings::default().most), Reach::Egress);
    }

    #[test]
    fn peers_are_names_or_addresses() {
        assert_eq!("10.1.2.3/16".parse::<Range>().unwrap().0.to_string(), "10.1.0.0/16");
        assert_eq!("10.1.2.3".parse::<Range>().unwrap().0.to_string(), "10.1.2.3/32");
        assert_eq!("nats.example.org".parse(), Ok(Peer::Host("nats.example.org".to_owned())));
        for wrong in ["", "10.1.2.3/33", "10.1.2.300", "a b", "-x;y", "::1"] {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
    }
}
