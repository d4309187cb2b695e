//! Compiles the C++ shim, tells the linker where libtorch lies, and takes in the chart library.
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=csrc");
    take_uplot();
    // torch-sys has `links = "tch"`: cargo hands its direct dependants what it found.
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!("cargo::error=torch-sys says not where libtorch lies: run `make setup`");
        return;
    };
    let lib = Path::new(&lib);
    // A libtorch that was removed after torch-sys was built is missed here first.
    println!(
        "cargo::rerun-if-changed={}",
        lib.join("libtorch.so").display()
    );
    if !lib.join("libtorch.so").exists() {
        println!(
            "cargo::error=there is no libtorch in {}: run `make setup`",
            lib.display()
        );
        return;
    }
    compile_shim(&lib.with_file_name("include"), lib);
    // Where `make install` puts a link to libtorch, as seen from the program there.
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/regatta/libtorch/lib");
    // A RUNPATH, so that `LD_LIBRARY_PATH` can put another libtorch (one with CUDA) in its place.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    // Nothing refers to libtorch.so itself, which is what brings CUDA in where it is there.
    println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
    println!("cargo::rustc-link-arg=-ltorch");
    println!("cargo::rustc-link-arg=-Wl,--as-needed");
    // What libtorch itself needs (NVIDIA's libraries) is found by its own paths, when it is loaded.
    println!("cargo::rustc-link-arg=-Wl,--allow-shlib-undefined");
    // torch-sys asks for libtorch_cuda if there was one when it was built. Nothing refers to it, so
    // an empty archive will do: set-up can change between CUDA and CPU without a new torch-sys.
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    std::fs::write(Path::new(&out).join("libtorch_cuda.a"), "!<arch>\n")
        .expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-lib=c10");
}

/// Copies the live page's chart library to where `include_str!` looks for it.
fn take_uplot() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let from = Path::new(&root).join("third_party/uplot");
    let to = Path::new(&out).join("uplot");
    std::fs::create_dir_all(&to).expect("OUT_DIR is writable");
    for name in ["uPlot.iife.min.js", "uPlot.min.css"] {
        let file = from.join(name);
        println!("cargo::rerun-if-changed={}", file.display());
        if let Err(error) = std::fs::copy(&file, to.join(name)) {
            println!(
                "cargo::error=there is no chart library: {}: {error}; run `make setup`",
                file.display()
            );
        }
    }
}

/// What NVRTC compiles on a machine with a GPU, in this order: without headers, so in one piece.
const CUDA_FILES: [&str; 7] = [
    "gpu/prelude.cuh",
    "mask.h",
    "gpu/score_rows.h",
    "gpu/drop_word.h",
    "gpu/dropout.cu",
    "gpu/score_row.h",
    "gpu/attention.cu",
];

/// Writes the source of the GPU's kernels as a text that C++ can take in; the folder that it is in.
fn write_cuda_source() -> std::path::PathBuf {
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let mut source = String::new();
    for name in CUDA_FILES {
        let text = std::fs::read_to_string(Path::new("csrc").join(name));
        let text = text.unwrap_or_else(|error| panic!("csrc/{name}: {error}"));
        let lines = text.lines().filter(|line| *line != "#pragma once");
        source.extend(lines.flat_map(|line| [line, "\n"]));
    }
    let text = format!("static const char CUDA_SOURCE[] = R\"cuda({source})cuda\";\n");
    let folder = Path::new(&out).to_owned();
    std::fs::write(folder.join("cuda_source.h"), text).expect("OUT_DIR is writable");
    folder
}

fn compile_shim(include: &Path, lib: &Path) {
    // What calls libtorch: nothing in it is worth a compiler's while.
    let mut shim = compiler(include);
    shim.file("csrc/libtorch.cpp").opt_level(1);
    let openmp = shares_work(&mut shim);
    shim.compile("regatta_shim");
    // What computes, and knows next to nothing of libtorch. Behind the shim, which calls it.
    compiler(include)
        .files([
            "csrc/attention.cpp",
            "csrc/cross_entropy.cpp",
            "csrc/dequantise.cpp",
            "csrc/dropout.cpp",
            "csrc/likeliest.cpp",
            "csrc/next_attention.cpp",
            "csrc/residual_norm.cpp",
            "csrc/rms_norm.cpp",
            "csrc/rotary.cpp",
            "csrc/sigmoid_gate.cpp",
        ])
        .files(["csrc/gpu/launch.cpp", "csrc/gpu/twin.cpp"])
        .files([
            "csrc/tiles/attention.cpp",
            "csrc/tiles/cross_entropy.cpp",
            "csrc/tiles/low_rank.cpp",
            "csrc/tiles/packing.cpp",
            "csrc/tiles/products.cpp",
            "csrc/tiles/residual_norm.cpp",
            "csrc/tiles/sigmoid_gate.cpp",
        ])
        .include(write_cuda_source())
        // Wide vectors are passed between inlined functions alone.
        .flag_if_supported("-Wno-psabi")
        .opt_level(3)
        .compile("regatta_kernels");
    // Behind the shim, which refers to it.
    if openmp {
        link_openmp(lib);
    }
}

/// Has libtorch's `parallel_for`, which is compiled into whoever calls it, share its work among threads;
/// whether it does. Without OpenMP it is a loop on one thread.
fn shares_work(build: &mut cc::Build) -> bool {
    // Clang's is another runtime than libtorch's, with threads of its own.
    let known = build
        .try_get_compiler()
        .is_ok_and(|compiler| compiler.is_like_gnu());
    if known {
        build.flag("-fopenmp");
    } else {
        println!("cargo::warning=without g++ a lane computes much on one thread: set CXX=g++");
    }
    known
}

/// Links to the OpenMP that libtorch brings, else to the system's: to two of them, each would have its
/// own idea of how many threads there are.
fn link_openmp(lib: &Path) {
    let names = std::fs::read_dir(lib).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    match names.filter(|name| name.starts_with("libgomp")).min() {
        Some(name) => println!("cargo::rustc-link-lib=dylib:+verbatim={name}"),
        None => println!("cargo::rustc-link-lib=gomp"),
    }
}

fn compiler(include: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .debug(false)
        // Headers include the operations that they use, rather than all two thousand.
        .define("AT_PER_OPERATOR_HEADERS", None)
        .include(include)
        .include(include.join("torch/csrc/api/include"));
    build
}
