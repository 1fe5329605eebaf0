//! Who of the services may do what: every user of `nats.conf` tries every deed, and exactly its owners succeed.

use broker::server::SERVICE_USERS;

use crate::world::World;

/// A message or a call that changes something, and the users whose business it is.
const DEEDS: &[(&str, &[&str])] = &[
    ("ev.action.a.created", &["gateway"]),
    ("ev.action.a.archived", &["gateway"]),
    ("ev.action.a.schedule_set", &["gateway"]),
    ("ev.action.a.saved_search_linked", &["gateway"]),
    ("ev.action.a.campaign_attached", &["gateway"]),
    ("ev.execution.e.requested", &["gateway"]),
    ("ev.execution.e.cancel_requested", &["gateway"]),
    ("ev.execution.e.resolved", &["catalog"]),
    ("ev.execution.e.completed", &["scheduler"]),
    ("ev.execution.e.job.j.assigned", &["scheduler"]),
    ("ev.execution.e.job.j.succeeded", &["scheduler"]),
    ("ev.execution.e.job.j.log_sealed", &["scheduler", "log-collector"]),
    ("ev.plan.p.created", &["campaign-plan"]),
    ("ev.preview.p.requested", &["gateway"]),
    ("ev.preview.p.resolved", &["catalog"]),
    ("ev.preview.p.failed", &["catalog"]),
    ("ev.repository.r.head_moved", &["catalog"]),
    ("ev.execution.e.starved", &["scheduler"]),
    ("ev.execution.e.starvation_ended", &["scheduler"]),
    ("ev.execution.e.images_pinned", &["scheduler"]),
    ("ev.runner.north.registered", &["scheduler"]),
    ("ev.runner.north.draining", &["gateway", "scheduler"]),
    ("ev.secret.s.set", &["gateway"]),
    ("ev.sealing_key.k.announced", &["scheduler"]),
    ("ev.enrollment.north.token_issued", &["gateway"]),
    ("ev.enrollment.north.enrolled", &["registrar"]),
    ("ev.enrollment.north.revoked", &["gateway"]),
    ("ev.user.u.created", &["gateway"]),
    ("ev.user.u.password_set", &["gateway"]),
    ("ev.user.u.linked", &["gateway"]),
    ("ev.token.t.issued", &["gateway"]),
    ("ev.token.t.revoked", &["gateway"]),
    ("ev.unheard.of.happened", &[]),
    ("work.north.ticket", &["scheduler"]),
    ("report.north.j.1", &["operator"]),
    ("log.north.j.1", &[]),
    ("beat.runner.north", &[]),
    ("beat.projector", &["projector"]),
    ("blob.source.1.a.0", &["catalog"]),
    ("blob.scope.a.0", &["catalog"]),
    ("blob.files.1.a.0", &["gateway"]),
    ("blob.patch.a.0", &["campaign-plan"]),
    ("blob.log.a.0", &["log-collector"]),
    ("blob.plan.a.0", &["campaign-plan"]),
    ("blob.password.a.0", &["gateway"]),
    ("cache.step.a", &["scheduler"]),
    ("cache.image.a", &["scheduler"]),
    ("cache.result.1.a.0", &[]),
    ("cache.result.a.0", &[]),
    ("dead.scheduler", &["scheduler"]),
    ("dead.catalog", &["catalog"]),
    ("dead.projector", &["projector", "operator"]),
    ("retry.projector", &["operator"]),
    ("enroll", &[]),
    ("$SYS.REQ.SERVER.N.KICK", &[]),
    ("$SYS.REQ.SERVER.PING.CONNZ", &[]),
    ("$SYS.REQ.USER.AUTH", &[]),
    ("$JS.API.STREAM.CREATE.SPARE", &["provisioner"]),
    ("$JS.API.STREAM.DELETE.SPARE", &[]),
    ("$JS.API.STREAM.PURGE.EVENTS", &[]),
    ("$JS.API.STREAM.PURGE.WORK", &["scheduler"]),
    ("$JS.API.STREAM.PURGE.LOGS", &["log-collector"]),
    ("$JS.API.STREAM.PURGE.REPORTS", &[]),
    ("$JS.API.STREAM.MSG.DELETE.DEAD", &["operator"]),
    ("$JS.API.STREAM.MSG.DELETE.LOGS", &[]),
    ("$JS.API.CONSUMER.CREATE.WORK.north-ticket.work.north.ticket", &["scheduler"]),
    ("$JS.API.CONSUMER.DELETE.WORK.north-ticket", &[]),
    ("$JS.API.CONSUMER.MSG.NEXT.WORK.north-ticket", &[]),
    ("$JS.API.CONSUMER.LIST.EVENTS", &["operator"]),
    ("$JS.API.CONSUMER.DELETE.EVENTS.sub-audit", &["operator"]),
    ("$JS.API.CONSUMER.INFO.EVENTS.sub-audit", &["registrar"]),
    ("$JS.ACK.EVENTS.sub-audit.1.1.1.1.0", &[]),
    ("$JS.API.CONSUMER.MSG.NEXT.REPORTS.scheduler", &["scheduler"]),
    ("$JS.API.CONSUMER.MSG.NEXT.DEAD.catalog", &["catalog"]),
    ("$JS.ACK.WORK.north-ticket.1.1.1.1.0", &[]),
    ("$JS.ACK.REPORTS.scheduler.1.1.1.1.0", &["scheduler"]),
    ("$JS.ACK.DEAD.catalog.1.1.1.1.0", &["catalog"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_does_its_own_work_and_no_other() {
    let world = World::new().await;
    for user in SERVICE_USERS {
        let raw = world.user(user, &format!("_INBOX_{user}")).await;
        for (deed, owners) in DEEDS {
            raw.publish(deed, None, "").await;
            assert_eq!(raw.accepted().await, owners.contains(&user), "{user}: {deed}");
        }
        for subject in [">", "ev.>", "work.>", "log.>", "$JS.>", "_INBOX.>"] {
            assert!(raw.subscribe(subject).await.is_none(), "{user} can subscribe to {subject}");
        }
        for other in SERVICE_USERS.iter().filter(|other| **other != user) {
            let inbox = format!("_INBOX_{other}.>");
            assert!(raw.subscribe(&inbox).await.is_none(), "{user} can subscribe to {inbox}");
        }
        assert!(raw.subscribe(&format!("_INBOX_{user}.mine")).await.is_some(), "{user}");
    }
    let control = world.anything().await;
    for (deed, _) in DEEDS {
        control.publish(deed, None, "").await;
        assert!(control.accepted().await, "the control: {deed}");
    }
}
