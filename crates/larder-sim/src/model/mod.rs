//! A model.
mod catalogue;
mod check;
mod core;
mod failover;
mod guard;
mod replica;
mod session;
mod weakening;

use std::process::ExitCode;
use catalogue::Size;

/// Checks the model.
pub(crate) fn run() -> ExitCode {
    let mut only: Vec<String> = std::env::args().skip(1).collect();
    let size = match only.remove(0).as_str() { "small" => Size::Small, "deep" => Size::Deep, _ => Size::Standard };
    let weak = only.iter().any(|o| o == "weak");
    only.retain(|o| o != "weak");
    for c in catalogue::ALL {
        if !only.is_empty() && !only.iter().any(|o| o == c.name) { continue; }
        let r = c.check(None, size, &|n| if n > 80_000_000 { eprintln!("too large"); std::process::exit(3) });
        println!("{:14} {:60} {:9} {:9} {:3} {:6.2} {}", c.name, c.bounds(size), r.states, r.generated, r.depth, r.time.as_secs_f64(), r.passed());
        for f in &r.findings { if !f.holds { println!("   {} {}", f.kind, f.property); } }
        if let Some(s) = r.story { println!("{}", s.property); for st in s.steps { println!("  {st}"); } println!("{}", s.end); }
        if weak { for w in weakening::ALL { if w.configuration == c.name {
        let r = c.check(Some(w.weak), size, &|_| ());
        println!("      {:2} {:30} {:?} {:9} {:9} {:3} {:6.2}", w.order, w.name, r.story.as_ref().map(|s| s.property), r.states, r.generated, r.depth, r.time.as_secs_f64());
        } } }
    }
    ExitCode::SUCCESS
}
