//! What a server keeps of what it is told, as its settings say. Looked at once, for people: a journal on a server that
//! forgets is refused by nobody, and is as right as before, since whoever notices a loss begins another history. But
//! each such loss makes everything a miss, and one that nobody notices is outside of the claim.

use crate::redis::Redis;
use std::collections::HashMap;

/// What a server's settings say of how long it keeps a journal. What could not be learnt, since a server may not let
/// this user ask, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Durability {
    /// Which keys go when memory is full (`maxmemory-policy`).
    pub eviction: Option<String>,
    /// Whether memory has a bound at all (`maxmemory`).
    pub bounded: Option<bool>,
    /// Whether each write goes to a file (`appendonly`).
    pub appendonly: Option<bool>,
    /// How soon that file is on the disk (`appendfsync`).
    pub appendfsync: Option<String>,
    /// Whether snapshots are written (`save`).
    pub snapshots: Option<bool>,
    /// How many replicas must be there for a write (`min-replicas-to-write`).
    pub replicas_min: Option<u64>,
    /// How many replicas there are.
    pub replicas: Option<u64>,
}

impl Durability {
    /// What speaks against a journal there, in words.
    pub fn risks(&self) -> Vec<&'static str> {
        let mut risks = Vec::new();
        let evicts_all = self.eviction.as_deref().is_some_and(|policy| policy.starts_with("allkeys"));
        if evicts_all && self.bounded != Some(false) {
            risks.push(
                "maxmemory-policy may evict the journal's keys: expected noeviction, or a volatile one",
            );
        }
        match (self.appendonly, self.snapshots) {
            (Some(false), Some(false)) => {
                risks
                    .push("nothing is written to disk: a restart loses the journal, and every entry with it");
            }
            (Some(false), _) => risks.push("appendonly is off: a restart loses the newest records"),
            _ => {}
        }
        if self.appendonly == Some(true) && self.appendfsync.as_deref() == Some("no") {
            risks.push("appendfsync is no: a power failure loses the newest records");
        }
        if self.replicas.is_some_and(|n| n > 0) && self.replicas_min == Some(0) {
            risks.push(
                "min-replicas-to-write is 0: a master cut off from its replicas goes on taking records, which the \
                 failover loses",
            );
        }
        risks
    }

    fn of(settings: &HashMap<String, String>) -> Self {
        let get = |name: &str| settings.get(name);
        let is_on = |on: &String| matches!(on.as_str(), "yes" | "1");
        Durability {
            eviction: get("maxmemory-policy").or_else(|| get("maxmemory_policy")).cloned(),
            bounded: get("maxmemory").map(|bytes| bytes != "0"),
            appendonly: get("appendonly").or_else(|| get("aof_enabled")).map(is_on),
            appendfsync: get("appendfsync").cloned(),
            snapshots: get("save").map(|points| !points.is_empty()),
            replicas_min: get("min-replicas-to-write").and_then(|n| n.parse().ok()),
            replicas: get("connected_slaves").and_then(|n| n.parse().ok()),
        }
    }
}

/// Asks the server for its settings. `None` when it cannot be asked at all; on a cluster one master answers for all.
pub(super) async fn of(redis: &Redis) -> Option<Durability> {
    let mut settings = HashMap::new();
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg("maxmemory*").arg("append*").arg("save").arg("min-replicas-to-write");
    let mut answered = false;
    if let Ok(answers) = redis.ask_all::<HashMap<String, String>>(&config).await {
        settings.extend(answers.into_iter().flatten());
        answered = true;
    }
    if let Ok(answers) = redis.ask_all::<String>(&redis::cmd("INFO")).await {
        let lines = answers.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once(':'));
        for (name, value) in lines {
            settings.entry(name.to_owned()).or_insert_with(|| value.trim().to_owned());
        }
        answered = true;
    }
    answered.then(|| Durability::of(&settings))
}

#[cfg(test)]
mod tests {
    use super::Durability;
    use std::collections::HashMap;

    fn of(settings: &[(&str, &str)]) -> Durability {
        let settings: HashMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Durability::of(&settings)
    }

    #[test]
    fn what_speaks_against_a_journal_is_said_and_what_is_not_known_is_not() {
        assert!(Durability::default().risks().is_empty());
        let good = of(&[
            ("maxmemory-policy", "noeviction"),
            ("maxmemory", "1000"),
            ("appendonly", "yes"),
            ("appendfsync", "everysec"),
            ("save", ""),
            ("min-replicas-to-write", "1"),
            ("connected_slaves", "2"),
        ]);
        assert!(good.risks().is_empty(), "{good:?}");
        let bad = of(&[
            ("maxmemory_policy", "allkeys-lru"),
            ("maxmemory", "1000"),
            ("aof_enabled", "0"),
            ("save", ""),
            ("min-replicas-to-write", "0"),
            ("connected_slaves", "1"),
        ]);
        assert_eq!(bad.risks().len(), 3, "{:?}", bad.risks());
        assert!(of(&[("maxmemory-policy", "allkeys-lru"), ("maxmemory", "0")]).risks().is_empty());
        assert_eq!(of(&[("appendonly", "no"), ("save", "3600 1")]).risks().len(), 1);
        assert_eq!(of(&[("appendonly", "yes"), ("appendfsync", "no")]).risks().len(), 1);
    }
}
