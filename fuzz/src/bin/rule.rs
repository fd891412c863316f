//! libFuzzer's entry to [`larder_fuzz::rule`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_fuzz::rule::run(data));
