//! libFuzzer's entry to [`larder_fuzz::keys`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_fuzz::keys::run(data));
