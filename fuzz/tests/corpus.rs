//! Every input of the corpus still holds, and the seeds among them are those the encoders make today.

use larder_fuzz::{TARGETS, Target};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn corpus(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

#[test]
fn every_input_of_the_corpus_holds() {
    for target in &TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= (target.seeds)().len(), "the corpus of {} is not all there", target.name);
        for (name, bytes) in inputs {
            println!("{}/{name}", target.name);
            (target.run)(&bytes);
        }
    }
}

#[test]
fn the_seeds_are_what_the_encoders_make() {
    for target in &TARGETS {
        let kept = corpus(target);
        let kept: BTreeMap<_, _> =
            kept.iter().filter_map(|(name, bytes)| Some((name.strip_prefix("seed-")?, bytes))).collect();
        let made = (target.seeds)();
        let made: BTreeMap<_, _> = made.iter().map(|(name, bytes)| (name.as_str(), bytes)).collect();
        assert_eq!(
            kept, made,
            "run `cargo run --example seeds` in fuzz/ to write the seeds of {} anew",
            target.name
        );
    }
}
