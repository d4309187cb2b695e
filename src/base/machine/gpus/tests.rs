use super::*;

const MODULE_535: &str =
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n";

/// A machine on which all is well.
fn sound() -> GpuFacts {
    GpuFacts {
        cuda_of_libtorch: Some(13),
        kernel_module: Some(MODULE_535.replace("535", "580")),
        driver: Driver::Runs { newest_cuda: 13 },
        visible: None,
        gpus: Gpus::alike(2, "NVIDIA H100", (9, 0)).usable,
    }
}

#[test]
fn the_reason_that_there_is_no_gpu_is_told_with_what_helps() {
    let bare = GpuFacts::default();
    let without_gpus = GpuFacts {
        gpus: Vec::new(),
        ..sound()
    };
    for (facts, none, helps) in [
        (bare.clone(), NoGpu::NoDriver, "no NVIDIA driver"),
        (
            GpuFacts {
                cuda_of_libtorch: Some(13),
                ..bare
            },
            NoGpu::NoDriver,
            "no NVIDIA driver",
        ),
        (
            GpuFacts {
                cuda_of_libtorch: None,
                ..sound()
            },
            NoGpu::WithoutCuda,
            "make setup CUDA=1",
        ),
        (
            GpuFacts {
                kernel_module: Some(MODULE_535.into()),
                driver: Driver::Runs { newest_cuda: 12 },
                ..sound()
            },
            NoGpu::OldDriver {
                release: Some(535),
                cuda: 13,
            },
            "driver 535 is too old for libtorch's CUDA 13",
        ),
        (
            GpuFacts {
                driver: Driver::Fails(803),
                ..sound()
            },
            NoGpu::Fails(803),
            "error 803",
        ),
        (
            GpuFacts {
                visible: Some(String::new()),
                ..without_gpus.clone()
            },
            NoGpu::Hidden(String::new()),
            "CUDA_VISIBLE_DEVICES is \"\"",
        ),
        (
            GpuFacts {
                driver: Driver::Fails(NO_DEVICE),
                ..without_gpus.clone()
            },
            NoGpu::NotShown,
            "--gres=gpu:1",
        ),
        (
            // The kernel's module alone, as a container without the driver's libraries has it.
            GpuFacts {
                driver: Driver::Missing,
                ..without_gpus
            },
            NoGpu::NotShown,
            "--nv",
        ),
    ] {
        let found = Gpus::of(facts);
        assert_eq!(found.none.as_ref(), Some(&none));
        assert!(found.usable.is_empty(), "{none:?}");
        assert!(none.to_string().contains(helps), "{none}");
    }
    // With cuda-compat, the driver's library is newer than its module.
    let compat = GpuFacts {
        kernel_module: Some(MODULE_535.into()),
        ..sound()
    };
    for facts in [sound(), compat] {
        let found = Gpus::of(facts);
        assert_eq!((found.usable.len(), found.none), (2, None));
    }
}

#[test]
fn gpus_without_kernels_are_told_from_those_with() {
    for (capability, cuda, usable) in [
        ((5, 2), 13, false),
        ((6, 0), 13, false),
        ((7, 0), 13, false),
        ((7, 5), 13, true),
        ((8, 0), 13, true),
        ((12, 0), 13, true),
        ((7, 0), 12, true),
        ((3, 7), 12, false),
    ] {
        let found = Gpus::of(GpuFacts {
            cuda_of_libtorch: Some(cuda),
            gpus: Gpus::alike(1, "Tesla", capability).usable,
            ..sound()
        });
        assert_eq!(found.usable.len() == 1, usable, "{capability:?}");
        let told = found.none.map(|none| none.to_string());
        assert_eq!(told.is_none(), usable);
        let named = told.is_none_or(|told| told.contains("Tesla") && told.contains("cu126"));
        assert!(named);
    }
    let mut mixed = sound();
    mixed.gpus[0].capability = (7, 0);
    let found = Gpus::of(mixed);
    assert_eq!(found.usable[0].number, 1);
    assert_eq!(found.too_old[0].number, 0);
}

#[test]
fn libtorchs_cuda_is_read_from_the_files_of_the_process() {
    let maps = "7f r-xp 0 08:01 1  /a/torch/lib/libtorch_cuda.so\n\
                7f r-xp 0 08:01 2  /a/nvidia/cu13/lib/libcudart.so.13.0.96\n";
    assert_eq!(cuda_of_libtorch(maps), Some(13));
    assert_eq!(
        cuda_of_libtorch(&maps.replace("so.13.0.96", "so.12")),
        Some(12)
    );
    assert_eq!(
        cuda_of_libtorch(&maps.replace("torch_cuda", "torch_cpu")),
        None
    );
}

#[test]
fn several_slices_need_several_processes() {
    let told = several_slices(Some("MIG-1a, MIG-2b")).unwrap();
    assert!(told.contains("2 slices"), "{told}");
    for one in [None, Some(""), Some("0,1"), Some("MIG-1a")] {
        assert_eq!(several_slices(one), None);
    }
}
