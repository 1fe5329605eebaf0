//! What a job reaches. Each attack is tried twice: without the rules it works, with them it does not.

use std::fmt::Write as _;
use std::time::Duration;

use super::internet::{Internet, PORT, PRIVATE, PUBLIC, RESOLVER, listen, network_of, run};
use super::*;
use crate::reach::NetworkSettings;

/// A world in which jobs reach this much, and the address that those of its first slot have.
async fn world(internet: &Internet, most: Reach) -> (World, String) {
    let settings = NetworkSettings {
        most,
        resolvers: vec![RESOLVER.parse().unwrap()],
        deny: vec!["203.0.113.128/25".parse().unwrap()],
        ..NetworkSettings::default()
    };
    let world = World::with(settings).await;
    world.engine.open_networks().await.unwrap();
    let holder = world.engine.network(Place { slot: 0, reach: most }).await.unwrap();
    let found = world.engine.docker().inspect_container(&holder, None).await.unwrap();
    let networks = found.network_settings.unwrap().networks.unwrap();
    let address = networks.into_values().find_map(|network| network.ip_address).unwrap();
    internet.let_in(&address);
    (world, address)
}

impl World {
    /// The process that holds a place's network.
    async fn holder(&self, place: Place) -> i64 {
        let holder = self.engine.network(place).await.unwrap();
        let found = self.engine.docker().inspect_container(&holder, None).await.unwrap();
        found.state.unwrap().pid.unwrap()
    }

    /// Which of these a job reaches that may reach this much.
    async fn reached(&self, reach: Reach, peers: &[(String, u16)]) -> Vec<String> {
        let mut script = String::new();
        for (address, port) in peers {
            let _ = writeln!(
                script,
                "([ \"$(nc -w 2 {address} {port} </dev/null 2>/dev/null)\" = reached ] && echo {address}) &"
            );
        }
        let said = self.said_at(Place { slot: 0, reach }, &(script + "wait")).await.unwrap();
        let mut reached: Vec<String> = said.lines().map(str::to_owned).collect();
        reached.sort();
        reached
    }
}

/// All that a job must not reach: private addresses outside, and every address of this host.
struct Forbidden {
    all: Vec<(String, u16)>,
    /// Those that listen as long as the test runs: networks of others on this host come and go.
    lasting: Vec<String>,
}

impl Forbidden {
    fn new(on_host: u16, gateway: &str) -> Self {
        let outside = PRIVATE.iter().chain([&RESOLVER]).map(|address| ((*address).to_owned(), PORT));
        let outside = outside.chain([(gateway.to_owned(), on_host)]);
        let addresses = run("hostname -I");
        let host = addresses.split_whitespace().filter(|address| !address.contains(':'));
        let host = host.map(|address| (address.to_owned(), on_host));
        let lasting = outside.clone().map(|(address, _)| address).collect();
        let mut all: Vec<_> = outside.chain(host).collect();
        all.sort();
        all.dedup();
        Self { all, lasting }
    }

    /// Whether these are all, but for what may have gone since.
    fn are(&self, reached: &[String]) -> bool {
        self.lasting.iter().all(|address| reached.contains(address))
    }
}

fn gateway_of(address: &str) -> String {
    format!("{}.1", address.rsplit_once('.').unwrap().0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_reaches_the_internet_and_nothing_private() {
    let internet = Internet::new();
    let on_host = listen(None, 0);
    let public = vec![(PUBLIC.to_owned(), PORT)];

    let (open, address) = world(&internet, Reach::Unrestricted).await;
    let forbidden = Forbidden::new(on_host, &gateway_of(&address));
    let reached = open.reached(Reach::Unrestricted, &forbidden.all).await;
    assert!(forbidden.are(&reached), "all of them listen: {reached:?}");
    assert_eq!(open.reached(Reach::Unrestricted, &public).await, [PUBLIC]);
    assert_eq!(open.reached(Reach::None, &forbidden.all).await, Vec::<String>::new());
    assert_eq!(open.reached(Reach::None, &public).await, Vec::<String>::new());
    drop(open);

    let (closed, address) = world(&internet, Reach::Egress).await;
    let forbidden = Forbidden::new(on_host, &gateway_of(&address));
    assert_eq!(closed.reached(Reach::Egress, &public).await, [PUBLIC]);
    assert_eq!(closed.reached(Reach::Egress, &forbidden.all).await, Vec::<String>::new());
    let place = Place { slot: 0, reach: Reach::Egress };
    let named = closed.said_at(place, "nslookup -type=a somewhere.test | tail -n 3").await.unwrap();
    assert!(named.contains(PUBLIC), "names are looked up: {named}");
    // A step that asks for what it may not reach is told so at once.
    let at_once =
        closed.said_at(place, "time -f %e nc -w 60 10.213.77.1 4222 </dev/null 2>&1; true").await.unwrap();
    let seconds: f64 = at_once.lines().last().unwrap().parse().unwrap();
    assert!(seconds < 5.0, "{at_once}");
    let interfaces =
        closed.said_at(Place { slot: 0, reach: Reach::None }, "ls /sys/class/net").await.unwrap();
    assert_eq!(interfaces, "lo\n", "without a network there is only what is one's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_reaches_what_its_job_does() {
    let internet = Internet::new();
    let on_host = listen(None, 0);
    for most in [Reach::Unrestricted, Reach::Egress] {
        let (world, address) = world(&internet, most).await;
        let forbidden = Forbidden::new(on_host, &gateway_of(&address));
        for reach in [most, Reach::None] {
            let mut tries = String::new();
            for (address, port) in forbidden.all.iter().chain([&(PUBLIC.to_owned(), PORT)]) {
                let _ = write!(
                    tries,
                    "([ \"$(nc -w 2 {address} {port} </dev/null 2>/dev/null)\" = reached ] && echo {address}) & "
                );
            }
            let grant = Grant { place: Place { slot: 0, reach }, limits: &LIMITS, logins: &[] };
            let said = world.built(grant, &(tries + "wait")).await;
            let said_of = |address: &str| said.iter().any(|line| line == address);
            assert_eq!(said_of(PUBLIC), reach != Reach::None, "{reach:?}: {said:?}");
            let reached: Vec<_> = forbidden
                .all
                .iter()
                .map(|(address, _)| address.clone())
                .filter(|address| said_of(address))
                .collect();
            assert!(
                reach == Reach::Unrestricted && forbidden.are(&reached) || reached.is_empty(),
                "{reach:?}: {reached:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wall_holds_without_the_other() {
    let internet = Internet::new();
    let on_host = listen(None, 0);
    let public = vec![(PUBLIC.to_owned(), PORT)];
    let (world, address) = world(&internet, Reach::Egress).await;
    let forbidden = Forbidden::new(on_host, &gateway_of(&address));
    let pid = world.holder(Place { slot: 0, reach: Reach::Egress }).await;

    // Inside: as for raw packets, and for a runtime with a network stack of its own.
    run(&format!("nsenter --target {pid} --net iptables -F"));
    run(&format!("nsenter --target {pid} --net iptables -P INPUT ACCEPT"));
    assert_eq!(world.reached(Reach::Egress, &forbidden.all).await, Vec::<String>::new());
    assert_eq!(world.reached(Reach::Egress, &public).await, [PUBLIC]);

    // Outside: as where somebody loads the host's rules anew. With neither, all is open.
    let rules = run("iptables -t mangle -S PREROUTING");
    let device = world.engine.device();
    let jump = rules.lines().find(|rule| rule.contains(&device)).unwrap().replacen("-A", "-D", 1);
    run(&format!("iptables -t mangle {jump}"));
    let reached = world.reached(Reach::Egress, &forbidden.all).await;
    assert!(forbidden.are(&reached), "this test can fail: {reached:?}");
    world.engine.open_networks().await.unwrap();
    assert_eq!(
        world.reached(Reach::Egress, &forbidden.all).await,
        Vec::<String>::new(),
        "the rules are loaded again"
    );

    run(&format!("iptables -t mangle {jump}"));
    let holder = world.engine.network(Place { slot: 0, reach: Reach::Egress }).await.unwrap();
    world.engine.remove(&holder).await.unwrap();
    world.engine.networks().forget(Place { slot: 0, reach: Reach::Egress }).await;
    world.holder(Place { slot: 0, reach: Reach::Egress }).await;
    assert_eq!(
        world.reached(Reach::Egress, &forbidden.all).await,
        Vec::<String>::new(),
        "the rules inside are enough, too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_do_not_reach_one_another() {
    let internet = Internet::new();
    for (most, expected) in [(Reach::Unrestricted, 1), (Reach::Egress, 0)] {
        let (world, _) = world(&internet, most).await;
        let other = Place { slot: 1, reach: most };
        let pid = world.holder(other).await;
        let port = listen(Some(network_of(pid)), 0);
        let address = world.said_at(other, "ip -4 -o addr show eth0 | awk '{print $4}'").await.unwrap();
        let peer = (address.split('/').next().unwrap().to_owned(), port);
        // The engine's own containers are on another bridge: there, only its own rules stand between.
        let to = std::net::SocketAddr::new(peer.0.parse().unwrap(), port);
        // What is dropped is never answered: a moment of silence is the answer.
        let from_host = std::net::TcpStream::connect_timeout(&to, Duration::from_secs(2));
        assert_eq!(from_host.is_ok(), most == Reach::Unrestricted, "nobody comes in either");
        let reached = world.reached(most, &[peer]).await;
        // Without rules the engine keeps the two apart, too; that it can be reached at all, the host has shown.
        assert!(reached.len() <= expected, "{reached:?}");
        assert!(most == Reach::Unrestricted || reached.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_over_ipv6() {
    let internet = Internet::new();
    let on_host = listen(None, 0);
    for (most, expected) in [(Reach::Unrestricted, vec!["fd00:ec2:77::254"]), (Reach::Egress, vec![])] {
        let (world, _) = world(&internet, most).await;
        let place = Place { slot: 0, reach: most };
        let pid = world.holder(place).await;
        // As if the engine gave its networks such addresses.
        let device = world.engine.device();
        run(&format!("ip addr add fd00:ec2:77::254/64 dev {device} nodad"));
        run(&format!("nsenter --target {pid} --net sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0"));
        run(&format!("nsenter --target {pid} --net ip addr add fd00:ec2:77::2/64 dev eth0 nodad"));
        let reached = world.reached(most, &[("fd00:ec2:77::254".to_owned(), on_host)]).await;
        assert_eq!(reached, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_cannot_change_its_network() {
    let world = World::new().await;
    world.engine.open_networks().await.unwrap();
    let place = Place { slot: 0, reach: Reach::Egress };
    let script = "
        ip link set eth0 down 2>/dev/null && echo down
        ip route add 10.0.0.0/8 dev eth0 2>/dev/null && echo routed
        ip addr add 10.0.0.1/8 dev eth0 2>/dev/null && echo named
        ping -c 1 -W 1 127.0.0.1 >/dev/null 2>&1 && echo raw
        arping -c 1 -w 1 -I eth0 172.17.0.1 >/dev/null 2>&1 && echo packets
        echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward && echo settings
        unshare -n true 2>/dev/null && echo unshared
        unshare -rn true 2>/dev/null && echo unshared as a user
        nsenter --net=/proc/1/ns/net ip link set lo down 2>/dev/null && echo entered
        nc -l -p 80 -w 1 </dev/null & sleep 0.1; kill $! && echo served
    ";
    assert_eq!(world.said_at(place, script).await.unwrap(), "served\n");
}

#[tokio::test]
async fn rules_that_cannot_be_loaded_are_a_reason_to_run_nothing() {
    // This process stands for one of another host's that has the same number.
    let before = run("iptables-save -t filter");
    let error = network::try_to_restrict("0123456789abcdef", i64::from(std::process::id()));
    assert!(format!("{:#}", error.unwrap_err()).contains("does not run on this host"));
    // Networks of other tests come and go, and the engine's rules for them.
    let is_lasting = |line: &&str| !line.starts_with('#') && !line.contains("pw-");
    let strip = |rules: &str| rules.lines().filter(is_lasting).collect::<Vec<_>>().join("\n");
    assert_eq!(strip(&run("iptables-save -t filter")), strip(&before));
}

#[tokio::test]
async fn what_a_dead_runner_left_is_used_again_and_an_orderly_end_leaves_nothing() {
    let world = World::new().await;
    world.engine.open_networks().await.unwrap();
    let place = Place { slot: 0, reach: Reach::Egress };
    let first = world.engine.network(place).await.unwrap();
    let device = world.engine.device();
    // The next process of the runner knows nothing of the first one's networks.
    let next = Engine::connect(&EngineOptions::default(), &world.runner, world.dir.path()).await.unwrap();
    assert_eq!(next.remove_leftovers(|_| false).await.unwrap(), 1);
    next.open_networks().await.unwrap();
    assert_ne!(next.network(place).await.unwrap(), first);
    assert_eq!(mentions(&device), 2, "one way in for each family");
    next.close().await.unwrap();
    assert_eq!(mentions(&device), 0);
    assert_eq!(mentions(&device.replace("pw-", "PATCHWAVE-")), 0);
    assert!(!Path::new("/sys/class/net").join(&device).exists());
}

/// How many of the host's rules speak of something.
fn mentions(what: &str) -> usize {
    let rules = run("iptables-save -t mangle") + &run("ip6tables-save -t mangle");
    rules.lines().filter(|rule| rule.contains(what)).count()
}

/// A runner that had a network and was killed, and its bridge.
async fn killed(runner: &RunnerId, dir: &Path) -> String {
    let engine = Engine::connect(&EngineOptions::default(), runner, dir).await.unwrap();
    engine.open_networks().await.unwrap();
    engine.network(Place { slot: 0, reach: Reach::Egress }).await.unwrap();
    engine.device()
}

async fn containers_of(world: &World, runner: &RunnerId, home: &Path) -> usize {
    world.engine.containers_of(runner.as_str(), home.to_str().unwrap()).await.unwrap().len()
}

#[tokio::test]
async fn what_a_runner_left_that_is_gone_is_taken_away_and_nothing_of_others() {
    let live = World::new().await;
    live.engine.open_networks().await.unwrap();
    let place = Place { slot: 0, reach: Reach::Egress };
    let holder = live.engine.network(place).await.unwrap();
    let runner: RunnerId = format!("test-{}", Uuid::now_v7().simple()).parse().unwrap();
    let (gone, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (gone_device, back_device) = (killed(&runner, gone.path()).await, killed(&runner, back.path()).await);
    let home = gone.path().to_owned();
    gone.close().unwrap();
    // Rules whose bridge is gone, as after an end in which something failed.
    let orphan = format!("PATCHWAVE-{}", &Uuid::new_v4().simple().to_string()[..12]);
    run(&format!("iptables -t mangle -N {orphan}"));

    let next = World::new().await;
    next.engine.open_networks().await.unwrap();
    let chain = gone_device.replace("pw-", "PATCHWAVE-");
    let is_left = || [&gone_device, &chain, &orphan].iter().any(|what| mentions(what) > 0);
    let bridge = Path::new("/sys/class/net").join(&gone_device);
    // Another test's runner may have been the first to find it, and be at it.
    let swept =
        async { while is_left() || bridge.exists() || containers_of(&next, &runner, &home).await > 0 {} };
    tokio::time::timeout(Duration::from_secs(60), swept).await.unwrap();
    // One whose folder is there may come back, and the other lives.
    assert_eq!((mentions(&back_device), containers_of(&next, &runner, back.path()).await), (2, 1));
    assert_eq!(mentions(&live.engine.device()), 2);
    assert_eq!(live.engine.network(place).await.unwrap(), holder);
    live.said_at(place, "true").await.unwrap();

    let engine = Engine::connect(&EngineOptions::default(), &runner, back.path()).await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(mentions(&back_device.replace("pw-", "PATCHWAVE-")), 0);
}

#[tokio::test]
async fn who_lives_keeps_its_networks_without_its_folder() {
    let runner: RunnerId = format!("test-{}", Uuid::now_v7().simple()).parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lives = Engine::connect(&EngineOptions::default(), &runner, dir.path()).await.unwrap();
    lives.open_networks().await.unwrap();
    dir.close().unwrap();
    World::new().await.engine.open_networks().await.unwrap();
    assert_eq!(mentions(&lives.device()), 2, "its claim says that it is there");
    lives.close().await.unwrap();
    assert_eq!(mentions(&lives.device()), 0);
}
