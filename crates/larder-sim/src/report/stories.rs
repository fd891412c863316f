//! What came of scripted stories.

use crate::scenario::Scenario;
use crate::tally::Tally;
use comfy_table::{ContentArrangement, Table, presets};

/// Stories are longer than a line.
const WIDTH: u16 = 120;

/// One row for each.
pub(crate) fn stories(stories: &[&'static Scenario], tally: &Tally) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["scenario", "ended well", "story", "known mistakes it is there for"]);
    let mut bad = 0;
    for story in stories {
        let failed = tally.failed.iter().filter(|outcome| outcome.story == Some(story.name)).count();
        bad += usize::from(failed > 0);
        let ended = if failed == 0 { "yes".to_owned() } else { format!("NO, {failed} times") };
        table.add_row([story.name.to_owned(), ended, story.story.to_owned(), story.catches.join(", ")]);
    }
    let early = if tally.is_interrupted { " Stopped early, as asked." } else { "" };
    let good = stories.len() - bad;
    format!("{table}\n{good} of {} stories ended well, in {} runs.{early}", stories.len(), tally.runs)
}
