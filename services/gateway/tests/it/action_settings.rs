//! Settings of actions, and what archiving means.

use serde_json::{Value, json};

use crate::world::{DEFINITION, World};

const FIELDS: &str = "sequence action { archived savedSearch campaign schedule { cron timeZone setBy setAt
    nextTimes(first: 2) } }";

/// Gives a setting with these inputs beside the action.
fn request(mutation: &str, kind: &str) -> String {
    format!("mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {FIELDS} }} }}")
}

async fn set(world: &World, (mutation, kind): (&str, &str), input: &Value) -> Value {
    world.data(&request(mutation, kind), json!({ "input": input })).await[mutation].take()
}

const SCHEDULE: (&str, &str) = ("setActionSchedule", "SetActionScheduleInput");
const SEARCH: (&str, &str) = ("linkActionSavedSearch", "ActionSavedSearchInput");
const CAMPAIGN: (&str, &str) = ("attachActionCampaign", "ActionCampaignInput");
const ARCHIVE: (&str, &str) = ("archiveAction", "ActionInput");

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_given_taken_away_and_read_at_once() {
    for world in World::on_both().await {
        let action = world.apply(DEFINITION, None).await["action"]["id"].take();
        let cron = " 30 4  * * MON-FRI ";
        let input = json!({ "actionId": action, "cron": cron, "timeZone": "Europe/Berlin" });
        let scheduled = set(&world, SCHEDULE, &input).await;
        let schedule = &scheduled["action"]["schedule"];
        assert_eq!(
            (&schedule["cron"], &schedule["timeZone"]),
            (&json!("30 4 * * MON-FRI"), &json!("Europe/Berlin"))
        );
        assert_eq!(schedule["setBy"], "user:local");
        let next = schedule["nextTimes"].as_array().unwrap();
        let times: Vec<&str> = next.iter().map(|time| time.as_str().unwrap()).collect();
        assert!(schedule["setAt"].as_str().unwrap() < times[0] && times[0] < times[1], "{schedule}");
        assert!(
            times.iter().all(|time| time.ends_with("T02:30:00Z") || time.ends_with("T03:30:00Z")),
            "{times:?}"
        );

        let again = set(&world, SCHEDULE, &input).await;
        assert_eq!(again["sequence"], scheduled["sequence"], "the same again is no news");
        let linked = set(&world, SEARCH, &json!({ "actionId": action, "savedSearch": "todo" })).await;
        let attached = set(&world, CAMPAIGN, &json!({ "actionId": action, "campaign": "spring.2026" })).await;
        assert!(linked["sequence"].as_u64() < attached["sequence"].as_u64());
        let whole = &attached["action"];
        assert_eq!((&whole["savedSearch"], &whole["campaign"]), (&json!("todo"), &json!("spring.2026")));
        assert_eq!(whole["schedule"]["setAt"], schedule["setAt"]);

        let utc = set(&world, SCHEDULE, &json!({ "actionId": action, "cron": "@DAILY" })).await;
        let schedule = &utc["action"]["schedule"];
        assert_eq!((&schedule["cron"], &schedule["timeZone"]), (&json!("@daily"), &json!("UTC")));

        for (mutation, field) in [
            ("clearActionSchedule", "schedule"),
            ("unlinkActionSavedSearch", "savedSearch"),
            ("detachActionCampaign", "campaign"),
        ] {
            let input = json!({ "actionId": action });
            let cleared = set(&world, (mutation, "ActionInput"), &input).await;
            assert_eq!(cleared["action"][field], Value::Null, "{mutation}");
            let again = set(&world, (mutation, "ActionInput"), &input).await;
            assert_eq!(again["sequence"], cleared["sequence"], "{mutation}");
        }
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_setting_is_refused_with_its_place_and_changes_nothing() {
    let world = World::new().await;
    let action = world.apply(DEFINITION, None).await["action"]["id"].take();
    for (cron, zone, field, text) in [
        ("61 4 * * *", "UTC", "minute", "61"),
        ("0 4 * * MON-FRY", "UTC", "weekday", "MON-FRY"),
        ("0 0 31 2 *", "UTC", "expression", "0 0 31 2 *"),
        ("@daily", "Europe/Brelin", "time zone", "Europe/Brelin"),
    ] {
        let input = json!({ "actionId": action, "cron": cron, "timeZone": zone });
        let error = world.error(&request(SCHEDULE.0, SCHEDULE.1), json!({ "input": input })).await;
        let extensions = &error["extensions"];
        assert_eq!(extensions["code"], "invalid-schedule", "{error:#}");
        assert_eq!((&extensions["field"], &extensions["text"]), (&json!(field), &json!(text)), "{error:#}");
        assert!(extensions["hint"].as_str().unwrap().len() > 10, "{error:#}");
    }
    let unknown = "action_00000000000000000000000000";
    for ((mutation, kind), input, code) in [
        (SEARCH, json!({ "actionId": action, "savedSearch": "to do" }), "invalid-name"),
        (CAMPAIGN, json!({ "actionId": action, "campaign": "" }), "invalid-name"),
        (CAMPAIGN, json!({ "actionId": unknown, "campaign": "a" }), "not-found"),
        (ARCHIVE, json!({ "actionId": unknown }), "not-found"),
        (ARCHIVE, json!({ "actionId": "tidy" }), "invalid-request"),
    ] {
        let error = world.error(&request(mutation, kind), json!({ "input": input })).await;
        assert_eq!(error["extensions"]["code"], code, "{error:#}");
    }
    let query = "query($first: Int!) { action(name: \"tidy\") { savedSearch campaign archived
        schedule { nextTimes(first: $first) } } }";
    let found = world.data(query, json!({ "first": 1 })).await;
    let nothing = json!({ "savedSearch": null, "campaign": null, "archived": false, "schedule": null });
    assert_eq!(found["action"], nothing);
    set(&world, SCHEDULE, &json!({ "actionId": action, "cron": "@daily" })).await;
    for first in [0, 21] {
        let error = world.error(query, json!({ "first": first })).await;
        assert_eq!(error["extensions"]["code"], "invalid-request", "{error:#}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_asked_for_twice_is_given_once() {
    let world = World::new().await;
    let action = world.apply(DEFINITION, None).await["action"]["id"].take();
    let daily = json!({ "actionId": action, "cron": "@daily", "mutationId": "m" });
    let first = set(&world, SCHEDULE, &daily).await;
    set(&world, SCHEDULE, &json!({ "actionId": action, "cron": "@hourly" })).await;
    // Repeated after somebody else has changed it, it is still the command that was carried out.
    let repeated = set(&world, SCHEDULE, &daily).await;
    assert_eq!(repeated["sequence"], first["sequence"]);
    assert_eq!(repeated["action"]["schedule"]["cron"], "@hourly", "nothing was appended");
    let other = json!({ "actionId": action, "cron": "@weekly", "mutationId": "m" });
    let error = world.error(&request(SCHEDULE.0, SCHEDULE.1), json!({ "input": other })).await;
    assert_eq!(error["extensions"]["code"], "already-exists", "{error:#}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_action_takes_nothing_and_is_a_list_of_its_own() {
    for world in World::on_both().await {
        let action = world.apply(DEFINITION, None).await["action"]["id"].take();
        let other = DEFINITION.replace("name: tidy", "name: other");
        world.apply(&other, None).await;
        set(&world, SCHEDULE, &json!({ "actionId": action, "cron": "@daily" })).await;
        set(&world, SEARCH, &json!({ "actionId": action, "savedSearch": "todo" })).await;
        set(&world, CAMPAIGN, &json!({ "actionId": action, "campaign": "spring" })).await;
        let archived = set(&world, ARCHIVE, &json!({ "actionId": action, "mutationId": "m" })).await;
        let expected =
            json!({ "archived": true, "savedSearch": null, "campaign": "spring", "schedule": null });
        assert_eq!(archived["action"], expected);
        for mutation_id in [Some("m"), None] {
            let again = set(&world, ARCHIVE, &json!({ "actionId": action, "mutationId": mutation_id })).await;
            assert_eq!(again["sequence"], archived["sequence"]);
        }

        let execution = ("createActionExecution", "CreateActionExecutionInput");
        let revised = DEFINITION.replace("Tidies.", "Tidies more.");
        for (query, input) in [
            (request(SCHEDULE.0, SCHEDULE.1), json!({ "actionId": action, "cron": "@daily" })),
            (request(SEARCH.0, SEARCH.1), json!({ "actionId": action, "savedSearch": "todo" })),
            (request(CAMPAIGN.0, CAMPAIGN.1), json!({ "actionId": action, "campaign": "autumn" })),
            (
                format!(
                    "mutation($input: {}!) {{ {}(input: $input) {{ sequence }} }}",
                    execution.1, execution.0
                ),
                json!({ "actionId": action, "repositories": ["/a"] }),
            ),
            (
                "mutation($input: ApplyActionInput!) { applyAction(input: $input) { sequence } }".to_owned(),
                json!({ "fileName": "tidy.batch.yaml", "source": revised }),
            ),
        ] {
            let error = world.error(&query, json!({ "input": input })).await;
            assert_eq!(error["extensions"]["code"], "action-archived", "{error:#}");
            assert!(error["extensions"]["hint"].as_str().unwrap().contains("another name"), "{error:#}");
        }

        let query = "query($archived: Boolean, $at: Sequence) { actions(archived: $archived, atLeast: $at) {
            nodes { name } } }";
        let open = "query($at: Sequence) { actions(atLeast: $at) { nodes { name } } }";
        let at = &archived["sequence"];
        for (query, variables, names) in [
            (open, json!({ "at": at }), vec!["other"]),
            (query, json!({ "at": at, "archived": false }), vec!["other"]),
            (query, json!({ "at": at, "archived": true }), vec!["tidy"]),
            (query, json!({ "at": at, "archived": null }), vec!["tidy", "other"]),
        ] {
            let found = world.data(query, variables).await;
            let found: Vec<&str> = found["actions"]["nodes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|node| node["name"].as_str().unwrap())
                .collect();
            assert_eq!(found, names);
        }
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_waits_for_what_it_is_to_know() {
    let mut world = World::new().await;
    world.apply(DEFINITION, None).await;
    let last = world.broker("gateway").await.last_sequence().await.unwrap();
    let (runner, preview) =
        ("id: \"local\"", format!("id: \"{}\"", events::id::PreviewId::derived(&["none"])));
    let queries = [
        ("actions", "", "nodes { id }"),
        ("executions", "", "nodes { id }"),
        ("runner", runner, "id"),
        ("runners", "", "nodes { id }"),
        ("secrets", "", "nodes { id }"),
        ("users", "", "nodes { id }"),
        ("tokens", "", "nodes { id }"),
        ("preview", preview.as_str(), "id"),
    ];
    let request = |(name, arguments, fields): &(&str, &str, &str), at: u64| {
        format!("{{ {name}({arguments} atLeast: {at}) {{ {fields} }} }}")
    };
    for query in &queries {
        let answer = world.ask(&request(query, last), json!({})).await;
        assert!(answer["errors"][0]["extensions"]["code"] != "stale-projection", "{answer:#}");
    }
    world.stop_projector().await;
    let late = async |query: &(&str, &str, &str)| world.error(&request(query, last + 1), json!({})).await;
    for error in futures::future::join_all(queries.iter().map(late)).await {
        assert_eq!(error["extensions"]["code"], "stale-projection", "{error:#}");
    }
    world.end().await;
}
