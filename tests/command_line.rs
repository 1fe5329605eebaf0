//! The command line: executions that are started and watched on their own, a Patchwave behind TLS, and what is written down for
//! shells and for `man`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::world::{PATCHWAVE, World, path_text, script_definition};

#[test]
fn an_action_that_is_there_is_run_again_and_watched_from_elsewhere() {
    let world = World::up();
    let repository = world.repository("one").file("a", "x\n").commit();
    let definition = world.definition("greet.batch.yaml", &script_definition("greet", "echo hello >>a"));
    let first = world.run(&definition, &[&repository]);
    assert_eq!(first.code, 0);

    let started =
        world.ok(&["execution", "start", "greet", "--no-cache", "--repo", &path_text(&repository.path)]);
    let watched = world.ok(&["execution", "watch", started.trim()]);
    assert!(watched.contains("1 changeset") && watched.contains("patchwave plan diff"), "{watched}");
    let followed = world.documents(&[
        "execution",
        "start",
        "greet",
        "--follow",
        "--json",
        "--repo",
        &path_text(&repository.path),
    ]);
    assert!(followed.iter().any(|event| event["type"] == "job.steps_reused"), "{followed:?}");
    assert_eq!(followed.last().unwrap()["type"], "plan.created");

    let refused = world.refused(&["execution", "start", "gret", "--repo", &path_text(&repository.path)]);
    assert!(refused.contains("there is no action `gret`"), "{refused}");
    world.end();
}

#[test]
fn whoever_watches_later_sees_every_try() {
    let world = World::up();
    let repository = world.repository("one").file("a", "x\n").commit();
    let run = world.run_script("exit 3", &[&repository]);
    assert_eq!(run.code, 1);
    let execution = run.of_type("execution.requested")[0]["aggregate"].as_str().unwrap().to_owned();
    world.ok(&["execution", "retry", &execution]);

    let watch = world.patchwave(&["execution", "watch", "--json", &execution]);
    assert_eq!(watch.status.code(), Some(1), "as `run` would end");
    let events: Vec<Value> = watch
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let ends = events.iter().filter(|event| event["type"] == "execution.completed").count();
    let plans = events.iter().filter(|event| event["type"] == "plan.created").count();
    assert_eq!((ends, plans), (2, 2), "the first end is not the end of the story");
    world.end();
}

/// A proxy that speaks TLS before a gateway, as a certificate authority of its own lets it; where it is, and the authority's
/// file.
async fn tls_proxy(folder: &Path, gateway: String) -> (String, String) {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let authority = folder.join("authority.pem");
    std::fs::write(&authority, certificate.cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let chain = vec![certificate.cert.der().clone()];
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key.into()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, gateway) = (acceptor.clone(), gateway.clone());
            tokio::spawn(async move {
                // Whoever does not trust the certificate goes away.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(gateway).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                let _ = client.shutdown().await;
            });
        }
    });
    (url, path_text(&authority))
}

#[test]
fn a_patchwave_behind_tls_is_reached_by_whoever_trusts_its_certificate() {
    let world = World::up();
    let gateway = world.gateway().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    let (url, authority) = runtime.block_on(tls_proxy(world.folder(), address));
    let whoami = |authority: Option<&str>| {
        let mut command = world.command(&["whoami", "--server", &url]);
        command.env("PATCHWAVE_TOKEN", &gateway.token).env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        if let Some(file) = authority {
            command.env("SSL_CERT_FILE", file);
        }
        command.output().unwrap()
    };
    let unknown = whoami(None);
    let errors = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(1) && errors.contains("cannot be trusted"), "{errors}");
    assert!(errors.contains("SSL_CERT_FILE"), "{errors}");
    let known = whoami(Some(&authority));
    assert_eq!(String::from_utf8_lossy(&known.stdout), "local (admin), by the data directory\n");
    world.end();
}

#[test]
fn shells_and_man_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(PATCHWAVE).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let script = folder.path().join("patchwave.bash");
    std::fs::write(&script, run(&["completions", "bash"])).unwrap();
    // As a shell does it when somebody presses the key behind `patchwave execution wa`.
    let ask = format!(
        "source {}; COMP_WORDS=(patchwave execution wa); COMP_CWORD=2; \
         _patchwave patchwave wa execution; echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let bash = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "watch");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).contains("watch"), "{shell}");
    }

    assert!(run(&["man"]).contains("patchwave\\-execution"));
    let pages = folder.path().join("man");
    run(&["man", "--to", &path_text(&pages)]);
    let watch = std::fs::read_to_string(pages.join("patchwave-execution-watch.1")).unwrap();
    assert!(watch.contains("from its beginning to its plan"), "{watch}");

    let typo = Command::new(PATCHWAVE).arg("executoin").output().unwrap();
    assert_eq!(typo.status.code(), Some(1), "2 would say that a part went well");
    assert!(String::from_utf8_lossy(&typo.stderr).contains("'execution'"));
}
