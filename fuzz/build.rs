//! Tells the linker where libtorch lies, as the program's own build script does for its binaries.
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys has `links = "tch"`: cargo hands its direct dependants what it found.
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!("cargo::error=torch-sys says not where libtorch lies: run `make setup`");
        return;
    };
    println!(
        "cargo::rustc-link-arg=-Wl,-rpath,{}",
        Path::new(&lib).display()
    );
    // What libtorch itself needs is found by its own paths, when it is loaded.
    println!("cargo::rustc-link-arg=-Wl,--allow-shlib-undefined");
}
