//! The fault matrix: three nodes on one server (or Sentinel set, or cluster), readers and a writer at work, one fault after
//! another. Of each: how many reads were stale beyond the level, the longest staleness, what was served meanwhile, and
//! how long until everything is well again, with nobody's help.
//!
//! `main` calls it. Rows stand in `faults`; `traffic` reads, writes and judges.

mod faults;
pub(crate) mod node;
mod nodes;
mod oracle;
mod origin;
mod report;
mod scene;
mod traffic;
mod wire;

use std::{error::Error, io::Write, thread, time::Duration};

use larder_rig::Flavour;

use faults::{Scenario, scenarios};
use report::{Report, Row};
use scene::Scene;
use traffic::Traffic;

/// Of a fault that is a series of them.
const BLOWS: u32 = 30;

/// How the matrix is run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name contains one of these.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Only these servers: redis7, redis8, valkey9; the oldest that is installed unless said otherwise.
    #[arg(long, value_delimiter = ',', value_name = "SERVER")]
    servers: Vec<String>,
    /// How long each fault lasts, in milliseconds.
    #[arg(long, default_value_t = 3000, value_name = "MILLISECONDS")]
    lasts: u64,
    /// Where the journal is: `redis`, beside the values, or `sqlite`, in the origin's database.
    #[arg(long, default_value = "redis", value_parser = ["redis", "sqlite"])]
    journal: String,
}

/// What is to be printed, and whether no promise was broken.
pub(crate) struct Shown {
    pub(crate) text: String,
    pub(crate) well: bool,
}

/// Runs the rows asked for, on each of the servers asked for.
pub(crate) fn run(args: &Args) -> Result<Shown, Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut wanted = scenarios();
    wanted.retain(|scenario| is_wanted(&args.only, scenario.name));
    // Nobody is cut off from a file: that row would have nothing to see.
    wanted.retain(|scenario| !(scenario.control && args.journal == "sqlite"));
    for flavour in flavours(&args.servers)? {
        for scenario in &wanted {
            progress(&format!("{flavour}: {}", scenario.name));
            rows.push(row(args, flavour, scenario)?);
        }
    }
    let report = Report::new(rows, node::BOUND, Duration::from_millis(args.lasts), &args.journal);
    let text = if args.json { serde_json::to_string(&report)? } else { report.table() };
    Ok(Shown { text, well: report.is_well() })
}

fn is_wanted(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
}

fn flavours(named: &[String]) -> Result<Vec<Flavour>, Box<dyn Error>> {
    let installed = Flavour::installed();
    let oldest = installed.first().copied().ok_or("no server is installed: apt-get install redis-server")?;
    if named.is_empty() {
        return Ok(vec![oldest]);
    }
    let find = |name: &String| {
        let word = |flavour: &Flavour| flavour.to_string().replace(' ', "").to_lowercase();
        let known = Flavour::ALL.into_iter().find(|flavour| word(flavour) == *name);
        let flavour = known
            .ok_or_else(|| format!("no server is called {name:?}: expected redis7, redis8 or valkey9"))?;
        match installed.contains(&flavour) {
            true => Ok(flavour),
            false => Err(format!("{flavour} is not installed: {}", flavour.remedy()).into()),
        }
    };
    named.iter().map(find).collect()
}

/// One scenario on a scene of its own.
fn row(args: &Args, flavour: Flavour, scenario: &Scenario) -> Result<Row, Box<dyn Error>> {
    let scene = Scene::build(flavour, scenario, &args.journal)?;
    let mut traffic = Traffic::start(&scene)?;
    let asked = Duration::from_millis(args.lasts);
    // What is beyond the level has to have the time to be it.
    let lasts = if scenario.control { asked.max(3 * node::BOUND) } else { asked };
    // Caches fill, and there is something to lose.
    thread::sleep(lasts / 3);
    traffic.enter_fault();
    scenario.begin(&scene)?;
    for _ in 0..BLOWS {
        thread::sleep(lasts / BLOWS);
        scenario.again(&scene)?;
    }
    scenario.end(&scene)?;
    traffic.leave_fault();
    let recovered = traffic.recovery();
    let measured = traffic.finish();
    Ok(Row::new(flavour, scenario, &measured, recovered))
}

fn progress(text: &str) {
    // Whoever closed our output does not want more of it.
    let _ = writeln!(std::io::stderr(), "{text}");
}
