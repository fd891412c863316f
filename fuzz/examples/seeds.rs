//! Writes the seeds of every target into `corpus/`: `cargo run --example seeds` in this folder, after an encoding has changed.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    for target in larder_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for old in fs::read_dir(&folder)? {
            let path = old?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-")) {
                fs::remove_file(path)?;
            }
        }
        let seeds = (target.seeds)();
        for (name, bytes) in &seeds {
            fs::write(folder.join(format!("seed-{name}")), bytes)?;
        }
        println!("{}: {} seeds", target.name, seeds.len());
    }
    Ok(())
}
