//! libFuzzer's entry to [`larder_fuzz::targets`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_fuzz::targets::run(data));
