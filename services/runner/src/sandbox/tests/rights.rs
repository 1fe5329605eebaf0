//! What a container has and what it may not.

use super::*;

#[tokio::test]
async fn names_and_values_may_have_any_character() {
    let world = World::new().await;
    let image = busybox(&world.engine).await;
    let files = world.folder("a:b,c=d \"e\" ü\n,readonly/files");
    let scratch = world.folder("s:ro,x/scratch");
    let cache = world.folder("cache:rw,z");
    std::fs::create_dir(files.join("sub folder")).unwrap();
    let given = world.dir.path().join("given:ro,\nfile");
    std::fs::write(&given, "given\n").unwrap();
    let (cache_dirs, read_only_files) =
        ([(cache.clone(), "/cache,dir:x".to_owned())], [(given, "/etc/odd:file,\n name".to_owned())]);
    let odd = "a b\n\"'$HOME`id`\\ ,:=\u{1b}[31m ü --privileged";
    let env = vec![("ODD".to_owned(), odd.to_owned()), ("EMPTY".to_owned(), String::new())];
    let script = "printf '%s|%s|' \"$ODD\" \"${EMPTY-unset}\"; pwd; cat '/etc/odd:file,\n name'
        echo x > '/etc/odd:file,\n name' && exit 1
        echo x > /.patchwave/script-1 && exit 1
        echo kept > '/cache,dir:x/kept'; touch here";
    let wanted = format!("{odd}||/work/sub folder\ngiven\n");
    for main in [Main::Idle, Main::Script { script: script.to_owned(), env: env.clone() }] {
        let idle = main == Main::Idle;
        let mut spec = world.spec(&image, &files, &scratch, main);
        spec.workdir = format!("{WORK}/sub folder");
        spec.cache_dirs = &cache_dirs;
        spec.read_only_files = &read_only_files;
        let container = world.engine.create(&spec).await.unwrap();
        let mut heard = Heard::default();
        let code = if idle {
            container.start().await.unwrap();
            container.run_script(script, &env, &mut heard).await.unwrap()
        } else {
            container.run_main(&mut heard).await.unwrap()
        };
        assert_eq!((code, heard.text()), (0, wanted.clone()));
        container.remove().await.unwrap();
        assert!(files.join("sub folder/here").exists());
        std::fs::remove_file(files.join("sub folder/here")).unwrap();
        assert_eq!(std::fs::read(cache.join("kept")).unwrap(), b"kept\n");
    }
}

#[tokio::test]
async fn files_that_come_after_the_creation_are_there_at_the_start() {
    let world = World::new().await;
    let container = world.container(one("cat /work/late")).await;
    std::fs::write(world.folder("files").join("late"), "late\n").unwrap();
    let mut heard = Heard::default();
    assert_eq!(container.run_main(&mut heard).await.unwrap(), 0);
    assert_eq!(heard.text(), "late\n");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_the_users_to_mend() {
    let world = World::new().await;
    let image = busybox(&world.engine).await;
    let (files, scratch) = (world.folder("files"), world.folder("scratch"));
    std::fs::write(files.join("file"), "").unwrap();
    let mut spec = world.spec(&image, &files, &scratch, one("true"));
    spec.workdir = format!("{WORK}/file");
    let container = world.engine.create(&spec).await.unwrap();
    let failure = failure(container.run_main(&mut Heard::default()).await);
    assert_eq!(failure.kind, events::job::FailureKind::Workspace, "{failure:?}");
}

#[tokio::test]
async fn a_step_has_no_more_rights_than_it_needs() {
    let world = World::new().await;
    let script = "
        grep NoNewPrivs /proc/self/status
        id -u
        ls /var/run/docker.sock 2>/dev/null
        mount -t tmpfs x /mnt 2>/dev/null && echo mounted
        cat /proc/1/environ | tr '\\0' '\\n' | grep -i patchwave
        tr '\\0' '\\n' < /proc/self/cmdline
    ";
    let env = vec![("SECRET".to_owned(), "hidden".to_owned())];
    let main = world.container(Main::Script { script: script.to_owned(), env }).await;
    let mut heard = Heard::default();
    main.run_main(&mut heard).await.unwrap();
    assert_eq!(heard.text(), "NoNewPrivs:\t1\n0\n/bin/sh\n/.patchwave/script-1\n");
    let found = world.engine.docker().inspect_container(main.id(), None).await.unwrap();
    let config = found.host_config.unwrap();
    assert_eq!((config.privileged, config.pids_limit), (Some(false), Some(4096)));
    let config = found.config.unwrap();
    assert!(!format!("{:?} {:?} {:?}", config.cmd, config.entrypoint, config.labels).contains("hidden"));
    let labels = config.labels.unwrap();
    assert_eq!(labels["patchwave.runner"], world.runner.to_string());
    assert_eq!(labels["patchwave.job"], world.attempt.job.to_string());
    assert_eq!(labels["patchwave.attempt"], "3");
    assert!(labels["patchwave.execution"].starts_with("execution_"));
}
