//! libFuzzer's entry to [`larder_fuzz::envelope`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_fuzz::envelope::run(data));
