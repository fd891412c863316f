//! What a run of the model found, as tables and stories or as JSON. Called by the module's front; explores nothing.

use super::catalogue::{Configuration, Size};
use super::check::{Checked, Finding, Story};
use super::weakening::About;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use std::time::Duration;

/// All of it.
#[derive(Default)]
pub(super) struct Report {
    pub(super) configurations: Vec<CheckedConfiguration>,
    pub(super) weakenings: Vec<CheckedWeakening>,
    pub(super) time: Duration,
}

/// A configuration as the design has it.
pub(super) struct CheckedConfiguration {
    name: &'static str,
    about: &'static str,
    bounds: String,
    checked: Checked,
}

/// A weakening in its configuration.
pub(super) struct CheckedWeakening {
    about: &'static About,
    checked: Checked,
}

impl CheckedConfiguration {
    pub(super) fn new(configuration: &Configuration, size: Size, checked: Checked) -> Self {
        let (name, about) = (configuration.name, configuration.about);
        CheckedConfiguration { name, about, bounds: configuration.bounds(size), checked }
    }

    fn count(&self, kind: &str, holds: bool) -> usize {
        self.checked.findings.iter().filter(|finding| finding.kind == kind && finding.holds == holds).count()
    }

    fn outcome(&self) -> String {
        let (held, seen) = (self.count("always", true), self.count("sometimes", true));
        let (broken, unseen) = (self.count("always", false), self.count("sometimes", false));
        match (broken, unseen) {
            (0, 0) => format!("complete: {held} held, {seen} seen"),
            (0, _) => format!("complete: {held} held, {unseen} never seen"),
            _ => format!("{broken} violated"),
        }
    }
}

impl CheckedWeakening {
    pub(super) fn new(about: &'static About, checked: Checked) -> Self {
        CheckedWeakening { about, checked }
    }

    fn property(&self) -> Option<&'static str> {
        self.checked.story.as_ref().map(|story| story.property)
    }
}

impl Report {
    /// Whether the protocol kept its promises and every weakening broke one.
    pub(super) fn passed(&self) -> bool {
        self.configurations.iter().all(|c| c.checked.passed())
            && self.weakenings.iter().all(|weak| weak.checked.story.is_some())
    }

    pub(super) fn json(&self) -> String {
        let configurations: Vec<_> = self.configurations.iter().map(configuration_json).collect();
        let weakenings: Vec<_> = self.weakenings.iter().map(weakening_json).collect();
        json!({
            "passed": self.passed(),
            "seconds": seconds(self.time),
            "states": self.configurations.iter().map(|c| c.checked.states).sum::<usize>(),
            "configurations": configurations,
            "weakenings": weakenings,
        })
        .to_string()
    }

    /// Tables; `stories` adds the counterexample of each weakening. A violation that must not be is always told.
    pub(super) fn text(&self, stories: bool) -> String {
        let mut parts = Vec::new();
        if !self.configurations.is_empty() {
            parts.push(self.configuration_table());
        }
        for configuration in self.configurations.iter().filter(|c| !c.checked.passed()) {
            parts.push(failure(configuration));
        }
        if !self.weakenings.is_empty() {
            parts.push(self.weakening_table());
        }
        for weak in self.weakenings.iter().filter(|_| stories) {
            let heading = format!("{} (order {}): {}", weak.about.name, weak.about.order, weak.about.says);
            parts.push(match &weak.checked.story {
                Some(story) => format!("{heading}\n{}", told(story)),
                None => format!("{heading}\n  no promise was broken"),
            });
        }
        parts.push(self.verdict());
        parts.join("\n\n")
    }

    fn verdict(&self) -> String {
        let states: usize = self.configurations.iter().map(|c| c.checked.states).sum();
        let caught = self.weakenings.iter().filter(|weak| weak.checked.story.is_some()).count();
        let kept = self.configurations.iter().filter(|c| c.checked.passed()).count();
        format!(
            "{}: {kept} of {} configurations kept every promise over {states} states, {caught} of {} weakenings caught, {:.1} s",
            if self.passed() { "passed" } else { "FAILED" },
            self.configurations.len(),
            self.weakenings.len(),
            self.time.as_secs_f64(),
        )
    }

    fn configuration_table(&self) -> String {
        let mut table =
            table(&["configuration", "what it has", "bounds", "states", "steps", "depth", "s", "result"]);
        for configuration in &self.configurations {
            let checked = &configuration.checked;
            table.add_row([
                configuration.name.to_owned(),
                configuration.about.to_owned(),
                configuration.bounds.clone(),
                checked.states.to_string(),
                checked.generated.to_string(),
                checked.depth.to_string(),
                format!("{:.1}", checked.time.as_secs_f64()),
                configuration.outcome(),
            ]);
        }
        to_the_right(&mut table, &[3, 4, 5, 6]);
        table.to_string()
    }

    fn weakening_table(&self) -> String {
        let mut table =
            table(&["order", "weakening", "what is wrong", "breaks", "states", "steps to it", "s"]);
        for weak in &self.weakenings {
            let checked = &weak.checked;
            table.add_row([
                if weak.about.order == 0 { "-".to_owned() } else { weak.about.order.to_string() },
                weak.about.name.to_owned(),
                weak.about.says.to_owned(),
                weak.property().unwrap_or("NOT CAUGHT").to_owned(),
                checked.states.to_string(),
                checked.story.as_ref().map_or(0, |story| story.steps.len()).to_string(),
                format!("{:.2}", checked.time.as_secs_f64()),
            ]);
        }
        to_the_right(&mut table, &[0, 4, 5, 6]);
        table.to_string()
    }
}

fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(headings);
    table
}

fn to_the_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn failure(configuration: &CheckedConfiguration) -> String {
    let broken = configuration.checked.findings.iter().filter(|finding| !finding.holds);
    let lines: Vec<_> = broken
        .map(|Finding { property, kind, .. }| match *kind {
            "always" => format!("  violated: {property}"),
            _ => format!("  never seen: {property}"),
        })
        .collect();
    let story = configuration.checked.story.as_ref().map(told).unwrap_or_default();
    format!("{}\n{}\n{story}", configuration.name, lines.join("\n"))
}

fn told(story: &Story) -> String {
    let steps = story.steps.iter().enumerate().map(|(at, step)| format!("  {:3}. {step}", at + 1));
    let steps: Vec<_> = steps.collect();
    format!("{}\n       {}\n  broken: {}", steps.join("\n"), story.end, story.property)
}

fn configuration_json(configuration: &CheckedConfiguration) -> serde_json::Value {
    let checked = &configuration.checked;
    json!({
        "configuration": configuration.name,
        "about": configuration.about,
        "bounds": configuration.bounds,
        "states": checked.states,
        "steps": checked.generated,
        "depth": checked.depth,
        "seconds": seconds(checked.time),
        "complete": checked.story.is_none(),
        "passed": checked.passed(),
        "properties": checked.findings,
    })
}

fn weakening_json(weak: &CheckedWeakening) -> serde_json::Value {
    let checked = &weak.checked;
    json!({
        "weakening": weak.about.name,
        "order": weak.about.order,
        "configuration": weak.about.configuration,
        "caught": checked.story.is_some(),
        "property": weak.property(),
        "states": checked.states,
        "depth": checked.story.as_ref().map(|story| story.steps.len()),
        "seconds": seconds(checked.time),
    })
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
