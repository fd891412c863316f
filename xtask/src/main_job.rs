//! Judges what `cargo run --release -p booking -- --json` printed: the main job must never serve a stale read,
//! nor one out of its order.
//! Pure text in, a verdict out; `steps` runs the program.

use serde_json::Value;

/// A sentence for the summary, or what is wrong with the output.
pub(crate) fn judge(output: &str) -> Result<String, String> {
    let whole: Value = serde_json::from_str(output)
        .map_err(|error| format!("standard output is not exactly one JSON object: {error}"))?;
    let runs = whole["runs"].as_array().ok_or("field `runs`: expected a list")?;
    let larder = runs
        .iter()
        .find(|run| run["cache"] == "larder")
        .ok_or("field `runs`: expected a run whose `cache` is \"larder\"")?;
    let number = |field: &str| {
        larder[field].as_u64().ok_or_else(|| {
            format!("field `{field}` of the larder run: expected a count, found {}", larder[field])
        })
    };
    let (reads, stale) = (number("reads")?, number("stale_reads")?);
    if reads == 0 {
        return Err("the larder run made no reads: that no read was stale proves nothing".into());
    }
    if stale > 0 {
        return Err(format!("{stale} of {reads} reads through Larder were stale: expected none"));
    }
    for broken in ["session_violations", "linearizability_violations"] {
        let found = number(broken)?;
        if found > 0 {
            return Err(format!("{broken} of the larder run: {found}, expected none"));
        }
    }
    let others: Vec<String> = runs.iter().filter_map(stale_of_another).collect();
    Ok(format!("{reads} reads, 0 stale{}", others.concat()))
}

/// What the TTL run shows on the same seed: that the oracle can see staleness at all.
fn stale_of_another(run: &Value) -> Option<String> {
    let (cache, stale) = (run["cache"].as_str()?, run["stale_reads"].as_u64()?);
    (cache == "ttl").then(|| format!(" ({cache} alone: {stale} stale)"))
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn a_larder_run_without_stale_reads_passes() {
        let output = r#"{"runs":[{"cache":"ttl","reads":9,"stale_reads":4},
                                  {"cache":"larder","reads":9,"stale_reads":0,"session_violations":0,
                                   "linearizability_violations":0}],"seed":1,"source":"made"}"#;
        assert_eq!(judge(output), Ok("9 reads, 0 stale (ttl alone: 4 stale)".into()));
    }

    #[test]
    fn everything_else_is_refused_with_what_was_expected() {
        let cases = [
            ("", "one JSON object"),
            ("progress\n{}", "one JSON object"),
            ("{} {}", "one JSON object"),
            ("{}", "`runs`"),
            (r#"{"runs":[{"cache":"ttl","reads":1,"stale_reads":0}]}"#, "larder"),
            (r#"{"runs":[{"cache":"larder","reads":1}]}"#, "`stale_reads`"),
            (r#"{"runs":[{"cache":"larder","reads":0,"stale_reads":0}]}"#, "no reads"),
            (r#"{"runs":[{"cache":"larder","reads":5,"stale_reads":2}]}"#, "2 of 5"),
            (
                r#"{"runs":[{"cache":"larder","reads":5,"stale_reads":0,"session_violations":1}]}"#,
                "session_violations",
            ),
        ];
        for (output, expected) in cases {
            let message = judge(output).unwrap_err();
            assert!(message.contains(expected), "{output:?} gave {message:?}");
        }
    }
}
