//! Compiles the C++ shim and tells the linker where libtorch lies.
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=csrc");
    // torch-sys has `links = "tch"`: cargo hands its direct dependants what it found.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB")
        .expect("torch-sys, a direct dependency, says where libtorch lies");
    let include = Path::new(&lib).with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .files(["csrc/shim.cpp", "csrc/info.cpp"])
        .compile("regatta_shim");
    // A RUNPATH, so that `LD_LIBRARY_PATH` can put another libtorch (one with CUDA) in its place.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    // Nothing refers to libtorch.so itself, which is what brings CUDA in where it is there.
    println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
    println!("cargo:rustc-link-arg=-ltorch");
    println!("cargo:rustc-link-arg=-Wl,--as-needed");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
}
