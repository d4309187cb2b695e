#![no_main]

#[allow(dead_code, reason = "each target uses one reader")]
#[path = "../../tests/untrusted/readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::csv(bytes);
});
