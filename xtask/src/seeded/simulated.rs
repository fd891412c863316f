//! What the simulator printed about the bugs: `[{"bug","caught","seed","seconds"}]`. Pure text in, verdicts out.

use std::time::Duration;

use serde_json::Value;

use super::results::Verdict;

/// What the simulator says of one bug.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) bug: String,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

/// Reads the whole of its standard output; an error names the field that is not as expected.
pub(super) fn read(output: &str) -> Result<Vec<Said>, String> {
    let whole: Value = serde_json::from_str(output)
        .map_err(|error| format!("standard output is not exactly one JSON value: {error}"))?;
    let list = whole.as_array().ok_or("standard output: expected a list of objects")?;
    list.iter()
        .enumerate()
        .map(|(index, row)| said(row).map_err(|why| format!("object {index}: {why}")))
        .collect()
}

fn said(row: &Value) -> Result<Said, String> {
    let wrong =
        |field: &str, expected: &str| format!("field `{field}` is {}: expected {expected}", row[field]);
    let bug = row["bug"].as_str().ok_or_else(|| wrong("bug", "a name"))?.to_owned();
    let caught = row["caught"].as_bool().ok_or_else(|| wrong("caught", "true or false"))?;
    let took = row["seconds"]
        .as_f64()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| wrong("seconds", "a number that is not negative"))?;
    if !caught {
        return Ok(Said { bug, verdict: Verdict::Escaped, took });
    }
    let seed = match &row["seed"] {
        Value::Number(seed) => seed.to_string(),
        Value::String(seed) => seed.clone(),
        _ => return Err(wrong("seed", "the seed that caught it")),
    };
    Ok(Said { bug, verdict: Verdict::Caught { by: format!("seed {seed}") }, took })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Said, Verdict, read};

    #[test]
    fn reads_who_was_caught_by_which_seed() {
        let output = r#"[{"bug":"a","caught":true,"seed":17,"seconds":0.5},
                         {"bug":"b","caught":false,"seed":null,"seconds":9}]"#;
        let half = Duration::from_millis(500);
        assert_eq!(
            read(output).unwrap(),
            [
                Said { bug: "a".into(), verdict: Verdict::Caught { by: "seed 17".into() }, took: half },
                Said { bug: "b".into(), verdict: Verdict::Escaped, took: Duration::from_secs(9) },
            ]
        );
    }

    #[test]
    fn everything_else_is_refused_with_what_was_expected() {
        for (output, expected) in [
            ("", "one JSON value"),
            ("progress\n[]", "one JSON value"),
            ("{}", "a list"),
            (r#"[{"caught":true,"seed":1,"seconds":1}]"#, "`bug` is null: expected a name"),
            (r#"[{"bug":"a","caught":1,"seed":1,"seconds":1}]"#, "`caught` is 1"),
            (r#"[{"bug":"a","caught":true,"seed":null,"seconds":1}]"#, "`seed` is null"),
            (r#"[{"bug":"a","caught":true,"seed":1,"seconds":-1}]"#, "`seconds` is -1"),
        ] {
            let message = read(output).unwrap_err();
            assert!(message.contains(expected), "{output:?} gave {message:?}");
        }
    }
}
