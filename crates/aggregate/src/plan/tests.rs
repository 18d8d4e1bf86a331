use std::collections::BTreeSet;

use layout::{Fingerprint, Input, Lineage};

use super::*;
use crate::scan::Files;

fn fingerprint(text: &str) -> Fingerprint {
    Fingerprint::of(text.as_bytes())
}

fn recipe(query: &str, table: &str) -> Recipe {
    let tables = [("sensors".to_owned(), fingerprint(table))].into();
    Recipe { query: fingerprint(query), tables, ignore_changes: BTreeSet::new() }
}

fn hour(text: &str) -> Hour {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The file of an hour, as some query made it.
fn file(version: &str) -> Commit {
    let tables = BTreeMap::new();
    Commit::new(Lineage::Query { query: fingerprint(version), inputs: [].into(), tables })
}

/// The same, after something came late to what it is made of.
fn late_file(version: &str) -> Commit {
    let inputs = [(name("telemetry"), Input::Hour(fingerprint("late")))].into();
    Commit::new(Lineage::Query { query: fingerprint(version), inputs, tables: BTreeMap::new() })
}

/// Files by their hours, each made by the query of its version; `+` behind that: after something came late.
fn files(files: &[(&str, &str)]) -> Files {
    let file = |version: &str| version.strip_suffix('+').map_or_else(|| file(version), late_file);
    files.iter().map(|(at, version)| (hour(at), Ok(file(version)))).collect()
}

/// Retention removed what the query "1" had made.
const EXPIRED: &dyn Fn(&Name, Hour) -> Option<Commit> = &|_, _| Some(file("1"));

fn snapshot_of(inputs: &[(&str, &[(&str, &str)])]) -> Snapshot {
    let inputs = inputs.iter().map(|(dataset, of)| (name(dataset), files(of))).collect();
    Snapshot { inputs, streams: ["telemetry".parse().unwrap()].into(), ..Snapshot::default() }
}

fn planned(calendar: &Calendar, recipe: &Recipe, snapshot: &Snapshot, now: &str) -> Plan {
    let wanted = Wanted {
        recipe,
        calendar,
        range: HourRange::ALL,
        rebuild: false,
        include_current: false,
        now: now.parse().unwrap(),
        expired: EXPIRED,
    };
    plan(&name("made"), snapshot, wanted).unwrap()
}

/// Does what is planned, and returns why.
fn carry_out(calendar: &Calendar, recipe: &Recipe, snapshot: &mut Snapshot) -> Vec<(String, Reason)> {
    let plan = planned(calendar, recipe, snapshot, "2030-01-01T00:00:00Z");
    for step in &plan.steps {
        snapshot.output.insert(step.window.hour(), Ok(recipe.commit(step.window, &step.inputs)));
    }
    plan.steps.into_iter().map(|step| (step.window.hour().to_string(), step.reason)).collect()
}

#[test]
fn an_hour_is_out_of_date_when_anything_it_was_made_of_differs() {
    let hourly = Calendar::hourly();
    let at = "2025-09-02T10";
    let mut snapshot = snapshot_of(&[("x", &[(at, "1")])]);
    let mut reasons = |recipe: &Recipe, inputs: &[(&str, &str)]| {
        snapshot.inputs = inputs.iter().map(|(dataset, version)| (name(dataset), files(&[(at, version)]))).collect();
        carry_out(&hourly, recipe, &mut snapshot).into_iter().map(|(_, reason)| reason).collect::<Vec<_>>()
    };
    let first = recipe("a", "1");
    assert_eq!(reasons(&first, &[("x", "1")]), [Reason::Missing]);
    assert_eq!(reasons(&first, &[("x", "1")]), []);
    assert_eq!(reasons(&recipe("b", "1"), &[("x", "1")]), [Reason::Query]);
    assert_eq!(reasons(&recipe("b", "2"), &[("x", "1")]), [Reason::Table("sensors".into())]);
    assert_eq!(reasons(&recipe("b", "2"), &[("x", "2")]), [Reason::Input(name("x"))]);
    assert_eq!(
        reasons(&recipe("b", "2"), &[("x", "2"), ("y", "1")]),
        [Reason::Input(name("y"))],
        "one that came later"
    );
    assert_eq!(reasons(&recipe("b", "2"), &[("x", "2")]), [Reason::Input(name("y"))], "one that is gone");
    let ignoring = Recipe { ignore_changes: ["sensors".to_owned()].into(), ..recipe("b", "3") };
    assert_eq!(reasons(&ignoring, &[("x", "2")]), []);
}

#[test]
fn late_data_touches_the_days_that_read_its_hour_and_no_others() {
    let zone = Some("Asia/Kolkata");
    let days = Calendar::new(Unit::Day, zone, None).unwrap();
    let two_days = Calendar::new(Unit::Day, zone, Some("1 day".parse().unwrap())).unwrap();
    let recipe = recipe("a", "1");
    let hours = [("2025-09-01T20", "1"), ("2025-09-02T18", "1"), ("2025-09-03T12", "1"), ("2025-09-04T18", "1")];
    for (calendar, touched) in [
        (&days, vec!["2025-09-01T18", "2025-09-02T18"]),
        (&two_days, vec!["2025-09-01T18", "2025-09-02T18", "2025-09-03T18"]),
    ] {
        let mut snapshot = snapshot_of(&[("telemetry", &hours)]);
        let made = carry_out(calendar, &recipe, &mut snapshot);
        let starts: Vec<_> = made.iter().map(|(hour, _)| hour.as_str()).collect();
        assert_eq!(starts, ["2025-09-01T18", "2025-09-02T18", "2025-09-03T18", "2025-09-04T18"]);
        assert_eq!(carry_out(calendar, &recipe, &mut snapshot), []);
        // The hour at the border of two days belongs to both.
        snapshot.inputs.get_mut(&name("telemetry")).unwrap().insert(hour("2025-09-02T18"), Ok(file("2")));
        let made = carry_out(calendar, &recipe, &mut snapshot);
        assert_eq!(made.into_iter().map(|(hour, _)| hour).collect::<Vec<_>>(), touched);
    }
}

#[test]
fn a_day_that_is_not_over_waits() {
    let days = Calendar::new(Unit::Day, Some("Europe/Berlin"), None).unwrap();
    let recipe = recipe("a", "1");
    let snapshot = snapshot_of(&[("telemetry", &[("2025-09-02T10", "1")])]);
    let plan = planned(&days, &recipe, &snapshot, "2025-09-02T21:59:59Z");
    assert_eq!((plan.steps.len(), plan.current), (0, 1));
    let plan = planned(&days, &recipe, &snapshot, "2025-09-02T22:00:00Z");
    assert_eq!((plan.steps.len(), plan.current), (1, 0));
}

#[test]
fn windows_that_retention_touched_are_frozen() {
    let recipe = recipe("a", "1");
    let mut snapshot = snapshot_of(&[("x", &[("2025-09-02T10", "1"), ("2025-09-03T10", "1")])]);
    snapshot.expired_inputs.insert(name("x"), [hour("2025-09-02T07")].into());
    let days = Calendar::new(Unit::Day, None, None).unwrap();
    let plan = planned(&days, &recipe, &snapshot, "2030-01-01T00:00:00Z");
    assert_eq!((plan.steps.len(), plan.frozen.count), (1, 1));
    let plan = planned(&Calendar::hourly(), &recipe, &snapshot, "2030-01-01T00:00:00Z");
    assert_eq!((plan.steps.len(), plan.frozen.count), (2, 0));
    snapshot.expired_output.insert(hour("2025-09-03T10"));
    let plan = planned(&Calendar::hourly(), &recipe, &snapshot, "2030-01-01T00:00:00Z");
    assert_eq!((plan.steps.len(), plan.frozen.count), (1, 1));
}

#[test]
fn of_windows_that_retention_touched_those_that_lack_late_data_are_told_from_those_of_an_older_query() {
    let days = Calendar::new(Unit::Day, None, None).unwrap();
    let (morning, evening) = ("2025-09-02T07", "2025-09-02T19");
    let (first, second) = (recipe("a", "1"), recipe("b", "1"));
    let frozen = |recipe: &Recipe, x: &[(&str, &str)], y: &[(&str, &str)]| {
        let mut snapshot = snapshot_of(&[("x", &[(morning, "1"), (evening, "1")])]);
        carry_out(&days, &first, &mut snapshot);
        snapshot.inputs = [(name("x"), files(x)), (name("y"), files(y))].into();
        snapshot.expired_inputs.insert(name("x"), [hour(morning)].into());
        let plan = planned(&days, recipe, &snapshot, "2030-01-01T00:00:00Z");
        assert_eq!((plan.steps.len(), plan.frozen.count, plan.frozen.unmade.len()), (0, 1, 0));
        let late: Vec<_> = plan.frozen.late.into_iter().map(|late| (late.input.to_string(), late.removed)).collect();
        (late, plan.frozen.outdated.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>())
    };
    let removed = (name("x"), hour(morning));
    assert_eq!(frozen(&first, &[(evening, "1")], &[]), (vec![], vec![]), "as it was made");
    assert_eq!(frozen(&first, &[], &[]), (vec![], vec![]), "more of it is gone");
    let late = (vec![("x".into(), removed.clone())], vec![]);
    assert_eq!(frozen(&first, &[(evening, "1+")], &[]), late);
    assert_eq!(frozen(&first, &[(evening, "1+"), ("2025-09-02T20", "1+")], &[]), late, "all of it");
    assert_eq!(frozen(&first, &[(evening, "1"), ("2025-09-02T20", "1")], &[]), late, "an hour that came late");
    for anew in ["2", "2+"] {
        assert_eq!(
            frozen(&first, &[(evening, anew)], &[]),
            (vec![], vec![Reason::Input(name("x"))]),
            "by another query"
        );
    }
    assert_eq!(frozen(&first, &[(evening, "1")], &[(evening, "1")]).0, [("y".into(), removed.clone())]);
    assert_eq!(frozen(&second, &[(evening, "1")], &[(evening, "1")]), (vec![], vec![Reason::Query]), "y is new to it");
    assert_eq!(frozen(&second, &[(evening, "1+")], &[]), late);
    assert_eq!(frozen(&recipe("a", "2"), &[], &[]), (vec![], vec![Reason::Table("sensors".into())]));
}

#[test]
fn a_window_that_was_never_made_and_cannot_be_is_told_from_one_that_retention_removed() {
    let mut snapshot = snapshot_of(&[("x", &[("2025-09-02T10", "1"), ("2025-09-03T10", "1")])]);
    snapshot.expired_inputs.insert(name("x"), [hour("2025-09-02T07"), hour("2025-09-03T07")].into());
    snapshot.expired_output.insert(hour("2025-09-03T00"));
    let days = Calendar::new(Unit::Day, None, None).unwrap();
    let plan = planned(&days, &recipe("a", "1"), &snapshot, "2030-01-01T00:00:00Z");
    assert_eq!((plan.frozen.count, plan.frozen.unmade), (2, vec![hour("2025-09-02T00")]));
    let plan = planned(&days, &recipe("a", "1"), &snapshot, "2025-09-02T20:00:00Z");
    assert_eq!((plan.current, plan.frozen.unmade.len()), (1, 0), "one that is not over waits all the same");
}

#[test]
fn a_window_whose_inputs_are_gone_stays_unless_it_is_asked_for() {
    let recipe = recipe("a", "1");
    let hourly = Calendar::hourly();
    let mut snapshot = snapshot_of(&[("x", &[("2025-09-02T10", "1")])]);
    carry_out(&hourly, &recipe, &mut snapshot);
    snapshot.inputs.clear();
    let without = planned(&hourly, &recipe, &snapshot, "2030-01-01T00:00:00Z");
    assert_eq!((without.steps.len(), without.orphaned.len()), (0, 1));
    let now = "2030-01-01T00:00:00Z".parse().unwrap();
    let wanted = Wanted {
        recipe: &recipe,
        calendar: &hourly,
        range: HourRange::ALL,
        rebuild: true,
        include_current: false,
        now,
        expired: EXPIRED,
    };
    let plan = plan(&name("made"), &snapshot, wanted).unwrap();
    assert_eq!((plan.steps.len(), plan.steps[0].inputs.len()), (1, 0));
}

#[test]
fn windows_of_another_kind_are_not_mixed_with_those_that_are_there() {
    let recipe = recipe("a", "1");
    let mut snapshot = snapshot_of(&[("x", &[("2025-09-02T00", "1")])]);
    carry_out(&Calendar::hourly(), &recipe, &mut snapshot);
    let days = Calendar::new(Unit::Day, None, None).unwrap();
    let now = "2030-01-01T00:00:00Z".parse().unwrap();
    let wanted = Wanted {
        recipe: &recipe,
        calendar: &days,
        range: HourRange::ALL,
        rebuild: false,
        include_current: false,
        now,
        expired: EXPIRED,
    };
    let error = plan(&name("made"), &snapshot, wanted).unwrap_err().to_string();
    assert!(error.contains("made 2025-09-02T00: the data set has windows of another kind"), "{error}");
}

#[test]
fn a_file_that_lies_in_a_window_in_part_is_refused_unless_its_rows_have_a_time() {
    let recipe = recipe("a", "1");
    let days = Calendar::new(Unit::Day, Some("Asia/Kolkata"), None).unwrap();
    let snapshot = snapshot_of(&[("x", &[("2025-09-02T18", "1"), ("2025-09-03T10", "1")])]);
    let plan = planned(&days, &recipe, &snapshot, "2030-01-01T00:00:00Z");
    assert_eq!((plan.steps.len(), plan.refused.len()), (0, 2));
    assert_eq!(plan.refused[0].covers, Window::of_hour(hour("2025-09-02T18")));
}

#[test]
fn a_window_that_begins_inside_an_earlier_one_of_its_input_is_refused_too() {
    let recipe = recipe("a", "1");
    let mut snapshot = snapshot_of(&[("x", &[("2025-09-02T00", "1"), ("2025-09-02T05", "1")])]);
    let window =
        Window { end: "2025-09-03T00:00:00Z".parse().unwrap(), ..Window::of_hour("2025-09-02T00".parse().unwrap()) };
    let day = Commit::of_window(Lineage::Segments(Vec::new()), window);
    snapshot.inputs.insert(name("days"), [("2025-09-02T00".parse().unwrap(), Ok(day))].into());
    let plan = planned(&Calendar::hourly(), &recipe, &snapshot, "2030-01-01T00:00:00Z");
    // Each hour of the day lies in it in part.
    assert_eq!((plan.steps.len(), plan.refused.len()), (0, 24));
}
