//! The rules on who may import whom: the floors of crate `larder`, the purity of `larder-core`, no testing code in
//! what ships.

use super::{Finding, Source};

/// A module of crate `larder` that may see only a few others.
struct Layer {
    module: &'static str,
    /// The modules it may import, beside itself, `larder_core` and foreign libraries.
    may: &'static [&'static str],
    /// Whether it may use the libraries that talk to servers and files.
    clients: bool,
}

/// From the ground up. Modules that are not named here are clients of the cache, and free.
const LAYERS: &[Layer] = &[
    // Pauses between attempts, for whatever connects to a server.
    Layer { module: "backoff", may: &[], clients: false },
    // How a SQLite file is opened, written and classified when it fails: the ground under both of its adapters.
    Layer { module: "sqlite", may: &[], clients: true },
    // Connections to Redis that mend themselves: the ground under its store and its journal.
    Layer { module: "redis", may: &["backoff"], clients: true },
    // The same for Postgres, and Larder's schema there.
    Layer { module: "postgres", may: &["backoff"], clients: true },
    Layer { module: "store", may: &["postgres", "redis", "sqlite"], clients: true },
    Layer { module: "journal", may: &["backoff", "postgres", "redis", "sqlite"], clients: true },
    // The writing half of the journals in SQL, for the application's own transactions.
    Layer { module: "outbox", may: &["journal", "postgres", "sqlite"], clients: true },
    // Triggers for whoever writes without knowing Larder.
    Layer { module: "capture", may: &["backoff", "postgres"], clients: true },
    Layer { module: "backplane", may: &["redis"], clients: true },
    Layer { module: "memory", may: &[], clients: false },
    Layer { module: "clock", may: &[], clients: false },
    Layer { module: "observe", may: &[], clients: false },
    // The library's words: what the engine takes in and hands up, and what it says when something fails.
    Layer { module: "error", may: &[], clients: false },
    Layer { module: "runtime", may: &[], clients: false },
    Layer { module: "codec", may: &[], clients: false },
    Layer { module: "policy", may: &["codec", "error"], clients: false },
    Layer { module: "outcome", may: &["error", "memory"], clients: false },
    Layer {
        module: "engine",
        may: &["clock", "codec", "error", "memory", "observe", "outcome", "policy", "runtime"],
        clients: false,
    },
];

/// Libraries that only adapters may name.
const CLIENT_LIBRARIES: [&str; 11] = [
    "rusqlite",
    "redis",
    "tokio_postgres",
    "sqlx",
    "async_nats",
    "lapin",
    "axum",
    "axum_core",
    "http",
    "reqwest",
    "pgwire_replication",
];

/// What decisions without IO, clock, randomness, threads or a runtime cannot need.
const IMPURE: [&str; 12] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "rand",
    "getrandom",
    "rusqlite",
    "redis",
];

/// Each layer imports only what lies below it.
pub(crate) fn layering(source: &Source) -> Vec<Finding> {
    let module = source.module();
    let own = module.first().map(String::as_str).unwrap_or_default();
    let Some(layer) = LAYERS.iter().find(|layer| layer.module == own && is_larder(source)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in source.paths.iter().filter(|path| !source.is_test(path.line)) {
        let library = path.segments.first().map(String::as_str).unwrap_or_default();
        if !layer.clients && CLIENT_LIBRARIES.contains(&library) {
            let message =
                format!("{own} uses the client library {library}: go through a port of larder_core");
            found.push(Finding::error(&source.path, path.line, message));
        }
        let Some(target) = path.in_crate(&module) else { continue };
        let target = target.first().map(String::as_str).unwrap_or_default();
        if target != own && !layer.may.contains(&target) {
            let may = ["larder_core", own].iter().chain(layer.may).copied().collect::<Vec<_>>().join(", ");
            let message = format!(
                "{own} imports `{}`: it may import only {may}. Move what both need into larder_core, or pass it in from above",
                path.text()
            );
            found.push(Finding::error(&source.path, path.line, message));
        }
    }
    found
}

fn is_larder(source: &Source) -> bool {
    source.path.starts_with("crates/larder/src/")
}

/// What ships does not import fakes and fault wrappers.
pub(crate) fn testing_in_shipping(source: &Source) -> Vec<Finding> {
    let module = source.module();
    let ships = source.in_src() && !source.path.starts_with("crates/larder-sim/");
    if !ships || module.first().is_some_and(|own| own == "testing") {
        return Vec::new();
    }
    let imports_testing = |path: &super::paths::Named| match path.segments.first().map(String::as_str) {
        Some("larder") => path.segments.get(1).is_some_and(|part| part == "testing"),
        _ => path.in_crate(&module).is_some_and(|path| path.first().is_some_and(|part| part == "testing")),
    };
    let shipping = source.paths.iter().filter(|path| !source.is_test(path.line));
    shipping
        .filter(|path| imports_testing(path))
        .map(|path| {
            let message =
                format!("`{}` outside of tests: shipping code does not know testing code", path.text());
            Finding::error(&source.path, path.line, message)
        })
        .collect()
}

/// The library says where a thread may be overtaken; the simulator alone decides what overtakes it.
pub(crate) fn interleaving(source: &Source) -> Vec<Finding> {
    if ["crates/larder-core/", "crates/larder-sim/"].iter().any(|own| source.path.starts_with(own)) {
        return Vec::new();
    }
    let hooks = source.paths.iter().filter(|path| {
        let mut segments = path.segments.iter().map(String::as_str);
        let inside = segments.next() == Some("larder_core") && segments.next() == Some("interleave");
        // The module itself, under its own name, is imported to call `interleave::point()`.
        inside && segments.next().is_some_and(|name| !(name == "point" && is_larder(source)))
    });
    let finding = |path: &super::paths::Named| {
        let message = format!("`{}`: only larder-sim lets threads be overtaken", path.text());
        Finding::error(&source.path, path.line, message)
    };
    hooks.map(finding).collect()
}

/// `larder-core` decides, and does nothing.
pub(crate) fn core_purity(source: &Source) -> Vec<Finding> {
    // Seeded bugs are chosen by the environment, in builds that make mistakes on purpose.
    let exempt = source.path.ends_with("/seeded.rs");
    if !source.path.starts_with("crates/larder-core/src/") || exempt {
        return Vec::new();
    }
    let mut found = Vec::new();
    for path in source.paths.iter().filter(|path| !source.is_test(path.line)) {
        if let Some(impure) = IMPURE.iter().find(|impure| reaches(path, impure)) {
            let message = format!(
                "`{}` gives larder-core a way to {impure}: take the value as an argument, or add a port",
                path.text()
            );
            found.push(Finding::error(&source.path, path.line, message));
        }
    }
    found
}

/// Whether a path names something impure, or imports a module that makes it nameable.
fn reaches(path: &super::paths::Named, impure: &str) -> bool {
    let impure: Vec<&str> = impure.split("::").collect();
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).filter(|part| *part != "*").collect();
    segments.starts_with(&impure) || (path.imported && !segments.is_empty() && impure.starts_with(&segments))
}

#[cfg(test)]
mod tests {
    use super::{Finding, Source, core_purity, interleaving, layering, testing_in_shipping};

    fn lines(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::new(path, text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_adapter_knows_the_core_and_itself() {
        let path = "crates/larder/src/store/sqlite/write.rs";
        let good = "use larder_core::Entry;\nuse super::rows;\nuse crate::sqlite::Worker;\nuse crate::store::sqlite::Row;\nuse rusqlite::Connection;\n";
        assert_eq!(lines(layering, path, good), [0; 0]);
        let bad = "use crate::{journal::memory, store::X};\nuse super::super::super::engine;\nlet c: crate::Cache;\n";
        assert_eq!(lines(layering, path, bad), [1, 2, 3]);
    }

    #[test]
    fn the_engine_knows_ports_and_memory_and_no_client_library() {
        let path = "crates/larder/src/engine/read.rs";
        assert_eq!(lines(layering, path, "use crate::{memory::Shard, clock, observe::Counter};\n"), [0; 0]);
        assert_eq!(
            lines(layering, path, "use rusqlite::Row;\nuse crate::store::sqlite;\nuse crate::cache;\n"),
            [1, 2, 3]
        );
    }

    #[test]
    fn tests_inside_of_a_layer_and_the_floors_above_are_free() {
        let text = "#[cfg(test)]\nmod tests {\n    use crate::cache::Cache;\n}\n";
        assert_eq!(lines(layering, "crates/larder/src/engine/read.rs", text), [0; 0]);
        assert_eq!(lines(layering, "crates/larder/src/cache.rs", "use crate::engine::Engine;\n"), [0; 0]);
        assert_eq!(lines(layering, "crates/larder-core/src/store.rs", "use crate::key;\n"), [0; 0]);
    }

    #[test]
    fn shipping_code_does_not_import_testing() {
        let path = "crates/larder/src/cache.rs";
        assert_eq!(lines(testing_in_shipping, path, "#[cfg(test)]\nuse crate::testing::Clock;\n"), [0; 0]);
        assert_eq!(lines(testing_in_shipping, path, "use crate::testing::Clock;\n"), [1]);
        assert_eq!(
            lines(testing_in_shipping, "examples/booking/src/main.rs", "use larder::testing::X;\n"),
            [1]
        );
        assert_eq!(
            lines(testing_in_shipping, "crates/larder/tests/a.rs", "use larder::testing::X;\n"),
            [0; 0]
        );
        assert_eq!(
            lines(testing_in_shipping, "crates/larder/src/testing/a.rs", "use crate::testing::X;\n"),
            [0; 0]
        );
        assert_eq!(
            lines(testing_in_shipping, "crates/larder-sim/src/world.rs", "use larder::testing::X;\n"),
            [0; 0]
        );
    }

    #[test]
    fn only_the_simulator_decides_what_overtakes_a_thread() {
        let hooks = "use larder_core::Entry;\nuse larder_core::{interleave::hook, Path};\nlarder_core::interleave::unhook();\n";
        for path in
            ["crates/larder/src/engine/read.rs", "crates/larder/tests/a.rs", "examples/booking/src/main.rs"]
        {
            assert_eq!(lines(interleaving, path, hooks), [2, 3], "{path}");
        }
        assert_eq!(lines(interleaving, "crates/larder-sim/src/sched/mod.rs", hooks), [0; 0]);
        assert_eq!(lines(interleaving, "crates/larder-core/tests/interleave.rs", hooks), [0; 0]);
        let point = "use larder_core::interleave;\nlarder_core::interleave::point();\n";
        assert_eq!(lines(interleaving, "crates/larder/src/engine/read.rs", point), [0; 0]);
        assert_eq!(lines(interleaving, "examples/booking/src/main.rs", point), [2]);
    }

    #[test]
    fn the_core_has_no_io_clock_randomness_threads_or_runtime() {
        let path = "crates/larder-core/src/lease.rs";
        let good = "use std::{sync::Arc, time::Duration};\nuse core::fmt;\n// std::fs\nlet random = 1;\n";
        assert_eq!(lines(core_purity, path, good), [0; 0]);
        let bad = "use std::{fs, time::{Duration, Instant}};\nstd::thread::spawn(f);\nuse std::time;\nuse std::time::*;\nuse tokio::sync;\nrand::random();\n";
        assert_eq!(lines(core_purity, path, bad), [1, 1, 2, 3, 4, 5, 6]);
        assert_eq!(lines(core_purity, path, "#[cfg(test)]\nuse std::thread;\n"), [0; 0]);
        assert_eq!(lines(core_purity, "crates/larder/src/clock.rs", "use std::time::Instant;\n"), [0; 0]);
    }
}
