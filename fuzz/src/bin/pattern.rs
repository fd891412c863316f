//! libFuzzer's entry to [`larder_fuzz::pattern`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_fuzz::pattern::run(data));
