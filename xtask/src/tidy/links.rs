//! The rule on links in documents: what a relative link names must be there. Addresses on the web are not asked.

use super::{Finding, tree::TextFile};

/// Every relative link of the documents that names nothing.
pub(crate) fn broken(documents: &[TextFile], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for document in documents {
        let here = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, target) in targets(&document.text) {
            let Some(path) = local_path(&target) else { continue };
            let named = resolve(here, path);
            if !named.as_deref().is_some_and(exists) {
                let message =
                    format!("the link to `{target}` leads nowhere: links are relative to this file");
                found.push(Finding::error(&document.path, line, message));
            }
        }
    }
    found
}

/// The targets of links, images and reference definitions outside of code, with their lines.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => found.extend(in_line(line).into_iter().map(|target| (index + 1, target))),
            _ => {}
        }
    }
    found
}

fn in_line(line: &str) -> Vec<String> {
    // Every second piece between backticks is code.
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
    let mut found: Vec<String> = Vec::new();
    for (opening, closing) in [("](", [')', ' ']), ("src=\"", ['"', '"']), ("href=\"", ['"', '"'])] {
        let pieces = prose.split(opening).skip(1);
        found.extend(pieces.filter_map(|piece| piece.split(closing).next()).map(str::to_owned));
    }
    if let Some((_, target)) = prose.split_once("]: ").filter(|_| prose.starts_with('[')) {
        found.extend(target.split_whitespace().next().map(str::to_owned));
    }
    found.iter().map(|target| target.trim_matches(['<', '>']).to_owned()).collect()
}

/// The path part of a link into this repository; none for the web, and for a place in the same document.
fn local_path(target: &str) -> Option<&str> {
    let has_scheme = target.split_once(':').is_some_and(|(scheme, _)| !scheme.contains(['/', '.', '#']));
    let path = target.split(['#', '?']).next().unwrap_or_default();
    (!has_scheme && !target.starts_with("//") && !path.is_empty()).then_some(path)
}

/// The path from the root; none if it leads out of the repository or is absolute.
fn resolve(here: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = here.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{TextFile, broken};

    fn lines(text: &str) -> Vec<usize> {
        let document = TextFile { path: "docs/concepts/journal.md".into(), text: text.into() };
        let exists = |path: &str| ["README.md", "docs/concepts/lease.md", "docs/a.png", ""].contains(&path);
        broken(&[document], &exists).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn links_to_what_is_there_pass() {
        let good = "\
[a](lease.md) and [b](../../README.md#top \"title\") ![c](../a.png)
[d](https://example.org/x.md) [e](#here) <img src=\"../a.png\"> [f](mailto:x@y.z)
[ref]: ./lease.md
[g](../..)
";
        assert_eq!(lines(good), [0; 0]);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let bad = "\
[a](gone.md)
[b](/README.md) [c](../../../README.md)
[ref]: gone.md#x
<a href=\"gone.html\">
";
        assert_eq!(lines(bad), [1, 2, 2, 3, 4]);
    }

    #[test]
    fn code_is_not_read_for_links() {
        assert_eq!(lines("```rust\n[a](gone.md)\n```\nsee `[b](gone.md)` and [c](gone.md)\n"), [4]);
    }
}
