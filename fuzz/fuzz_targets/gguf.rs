#![no_main]

#[allow(dead_code, reason = "each target uses one reader")]
#[path = "../../tests/untrusted/readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(
    // The fuzzer's hook ends the process at any panic; those that are caught on purpose do not count.
    init: drop(std::panic::take_hook()),
    |bytes: &[u8]| {
        readers::gguf(bytes);
    }
);
