//! How images come, and why they do not.

use events::job::FailureKind;

use super::*;

#[tokio::test]
async fn bash_is_preferred_where_there_is_one() {
    let world = World::new().await;
    busybox(&world.engine).await;
    let name = format!("sandbox-test:bash-{}", world.runner);
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, "bin/busybox", &std::fs::read("/bin/busybox").unwrap());
    file(&mut tar, "bin/sh", b"#!/bin/busybox sh\nexec /bin/busybox sh \"$@\"\n");
    file(&mut tar, "bin/bash", b"#!/bin/busybox sh\necho bash\nexec /bin/busybox sh \"$@\"\n");
    import(&world.engine, &name, tar.into_inner().unwrap()).await;
    let image = world.engine.image(&ImageSource::Reference(name.clone()), GRANT, &mut |_| ()).await.unwrap();
    let heard = Heard::default();
    let idle = world.container_of(&image, Main::Idle).await.unwrap();
    idle.start().await.unwrap();
    assert_eq!(idle.run_script("echo $0", &[], &mut heard.clone()).await.unwrap(), 0);
    let main = world.container_of(&image, one("echo $0")).await.unwrap();
    assert_eq!(main.run_main(&mut heard.clone()).await.unwrap(), 0);
    assert_eq!(heard.text(), "bash\n/.patchwave/script-1\n".repeat(2));
    idle.remove().await.unwrap();
    main.remove().await.unwrap();
    forget(&world.engine, &name).await;
}

#[tokio::test]
async fn an_image_without_a_shell_runs_no_scripts() {
    let world = World::new().await;
    let name = format!("sandbox-test:bare-{}", world.runner);
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, "readme", b"nothing to run\n");
    import(&world.engine, &name, tar.into_inner().unwrap()).await;
    let image = world.engine.image(&ImageSource::Reference(name.clone()), GRANT, &mut |_| ()).await.unwrap();
    for main in [Main::Idle, one("true")] {
        let failure = failure(world.container_of(&image, main).await);
        assert_eq!(failure.kind, FailureKind::Image);
        assert!(failure.message.contains("no shell") && failure.hint.contains("alpine"), "{failure:?}");
    }
    let nothing = failure(world.container_of(&image, Main::Entrypoint { args: None, env: vec![] }).await);
    assert!(nothing.message.contains("no program"), "{nothing:?}");
    for program in ["no-such-tool", "/no/such/tool"] {
        let main = Main::Command { command: vec![program.to_owned()], env: vec![] };
        let container = world.container_of(&image, main).await.unwrap();
        let failure = failure(container.run_main(&mut Heard::default()).await);
        assert_eq!(failure.kind, FailureKind::Image);
        assert!(failure.message.contains(program), "{failure:?}");
        container.remove().await.unwrap();
    }
    forget(&world.engine, &name).await;
}

#[tokio::test]
async fn an_image_whose_registry_is_away_is_asked_for_once() {
    let world = World::new().await;
    // Nothing listens there, wherever the test runs.
    let source = ImageSource::Reference("127.0.0.1:1/team/tool:9".to_owned());
    let notes = Mutex::new(Vec::new());
    let mut all = vec![];
    for _ in 0..5 {
        all.push(async {
            let mut note = |line: String| notes.lock().unwrap().push(line);
            world.engine.image(&source, GRANT, &mut note).await
        });
    }
    for found in futures::future::join_all(all).await {
        let failure = out_of_reach(found);
        assert_eq!(failure.kind, FailureKind::Image);
        assert!(failure.message.contains("127.0.0.1:1/team/tool:9"), "{failure:?}");
        assert!(failure.hint.contains("image import"), "{failure:?}");
    }
    assert_eq!(*notes.lock().unwrap(), ["pulling the image 127.0.0.1:1/team/tool:9"], "pulled once");
    let away = ImageSource::Dockerfile("FROM 127.0.0.1:1/none AS base\n".to_owned());
    let failure = out_of_reach(world.engine.image(&away, GRANT, &mut |_| ()).await);
    let told = "the Dockerfile cannot be built: the image `127.0.0.1:1/none` is not on the runner's host";
    assert!(failure.message.starts_with(told), "{failure:?}");
    assert!(failure.hint.contains("docker save 127.0.0.1:1/none"), "{failure:?}");
}

/// The failure of what another attempt may be able to do.
fn out_of_reach(found: Result<Image, Trouble>) -> events::job::Failure {
    match found {
        Err(Trouble::Registry(failure)) => failure,
        other => panic!("not the registry's: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_name_of_an_image_is_the_users_to_mend() {
    let world = World::new().await;
    for name in ["Upper/Case", "../containers/json", "a b", ""] {
        let source = ImageSource::Reference(name.to_owned());
        let failure = failure(world.engine.image(&source, GRANT, &mut |_| ()).await);
        assert!(failure.message.contains("not the name of an image"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_dockerfile_is_built_once() {
    let world = World::new().await;
    busybox(&world.engine).await;
    let text = format!("FROM sandbox-test:busybox\nRUN echo {} > /made\n", world.runner);
    let source = ImageSource::Dockerfile(text);
    let mut notes = vec![];
    let image = world.engine.image(&source, GRANT, &mut |line| notes.push(line)).await.unwrap();
    assert!(notes.iter().any(|line| line.contains("RUN echo")), "{notes:?}");
    // Another process of the runner finds it too.
    let again = Engine::connect(&EngineOptions::default(), &world.runner, world.dir.path()).await.unwrap();
    assert_eq!(again.image(&source, GRANT, &mut |line| panic!("{line}")).await.unwrap().id, image.id);
    let mut heard = Heard::default();
    let container = world.container_of(&image, one("cat /made")).await.unwrap();
    assert_eq!(container.run_main(&mut heard).await.unwrap(), 0);
    assert_eq!(heard.text(), format!("{}\n", world.runner));
    container.remove().await.unwrap();
    forget(&world.engine, &image.id).await;

    for (text, says) in [
        ("FROM sandbox-test:busybox\nRUN echo told; exit 3\n", "told"),
        ("FROM sandbox-test:busybox\nRUM x\n", "RUM"),
        ("FROM sandbox-test:busybox\nCOPY a b\n", "docker build"),
        ("", "Dockerfile"),
    ] {
        let failure =
            failure(world.engine.image(&ImageSource::Dockerfile(text.to_owned()), GRANT, &mut |_| ()).await);
        assert_eq!(failure.kind, FailureKind::Image);
        assert!(format!("{} {}", failure.message, failure.hint).contains(says), "{failure:?}");
    }
}

#[tokio::test]
async fn an_image_that_went_away_is_asked_for_again() {
    let world = World::new().await;
    let name = format!("sandbox-test:gone-{}", world.runner);
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, "bin/sh", world.runner.as_str().as_bytes());
    import(&world.engine, &name, tar.into_inner().unwrap()).await;
    let source = ImageSource::Reference(name.clone());
    let image = world.engine.image(&source, GRANT, &mut |_| ()).await.unwrap();
    forget(&world.engine, &name).await;
    assert!(matches!(world.container_of(&image, Main::Idle).await, Err(Trouble::Engine(_))));
    let mut notes = vec![];
    assert!(world.engine.image(&source, GRANT, &mut |line| notes.push(line)).await.is_err());
    assert!(!notes.is_empty(), "the engine was asked for it");
}
