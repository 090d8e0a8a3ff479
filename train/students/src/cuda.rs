//! Loads CUDA's libraries when a GPU is requested instead of at program start, so that the
//! same program runs on machines with and without them.
//!
//! candle links the libraries (cudarc's `dynamic-linking`). This module defines an entry
//! for each function that candle calls, so that the linker finds the names in the program
//! itself. rustc's `--as-needed` then drops the libraries. Each entry jumps to the address
//! in its slot: at first to a function that returns an error, and after [`open`] to the
//! function of the library. If ggml is in the program too, it calls the same entries.

use std::arch::global_asm;
use std::error::Error;
use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use candle_core::cuda_backend::cudarc::driver::sys::CUDA_VERSION;
use libloading::os::unix::Library as Handle;

/// Why CUDA cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Absent {
    /// There is no driver, and therefore no GPU.
    #[error("{0}")]
    Driver(String),
    /// There is a driver, but a library is missing.
    #[error("{0}")]
    Library(String),
}

/// A library of CUDA. Without it, its functions return its own status code for "not
/// initialised".
struct Library {
    /// As in `libcublas.so.13`.
    name: &'static str,
    version: Version,
    entries: &'static [Entry],
}

/// The version at the end of a library's file name.
enum Version {
    /// A constant number.
    Fixed(u32),
    /// The version of CUDA that the program was compiled for.
    Cuda,
}

struct Entry {
    name: &'static str,
    slot: &'static AtomicPtr<c_void>,
    /// The address of the entry. The reference keeps the entry in the program.
    address: unsafe extern "C" fn(),
}

extern "C" fn absent<const STATUS: usize>() -> usize {
    STATUS
}

macro_rules! libraries {
    ($all:ident, $slots:ident: $($library:literal $version:expr, absent $status:literal: $($name:ident)*;)*) => {
        #[allow(non_upper_case_globals)]
        mod $slots {
            use super::{AtomicPtr, absent, c_void};
            $($(pub(super) static $name: AtomicPtr<c_void> =
                AtomicPtr::new(absent::<$status> as extern "C" fn() -> usize as *mut c_void);)*)*
        }
        unsafe extern "C" {
            $($(fn $name();)*)*
        }
        $($(entry!($slots $name);)*)*
        static $all: &[Library] = &[$(Library {
            name: $library,
            version: $version,
            entries: &[$(Entry { name: stringify!($name), slot: &$slots::$name, address: $name }),*],
        }),*];
    };
}

// Hidden: libraries that call each other's functions must find those, not these.
macro_rules! entry {
    ($slots:ident $name:ident) => {
        global_asm!(
            concat!(".pushsection .text.", stringify!($name), ",\"ax\",@progbits"),
            concat!(".globl ", stringify!($name)),
            concat!(".hidden ", stringify!($name)),
            concat!(".type ", stringify!($name), ",@function"),
            concat!(stringify!($name), ":"),
            #[cfg(target_arch = "x86_64")]
            "jmp qword ptr [rip + {slot}]",
            #[cfg(target_arch = "aarch64")]
            "adrp x16, {slot}",
            #[cfg(target_arch = "aarch64")]
            "ldr x16, [x16, :lo12:{slot}]",
            #[cfg(target_arch = "aarch64")]
            "br x16",
            ".popsection",
            slot = sym $slots::$name,
        );
    };
}

libraries! { LIBRARIES, slots:
    "cuda" Version::Fixed(1), absent 3:
        cuCtxCreate_v3 cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxGetCacheConfig cuCtxGetCurrent
        cuCtxGetLimit cuCtxGetStreamPriorityRange cuCtxSetCacheConfig cuCtxSetCurrent cuCtxSetFlags
        cuCtxSetLimit cuCtxSynchronize cuDestroyExternalMemory cuDeviceGet cuDeviceGetAttribute
        cuDeviceGetCount cuDeviceGetDefaultMemPool cuDeviceGetMemPool cuDeviceGetName
        cuDeviceGetUuid cuDeviceGetUuid_v2 cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRetain
        cuDeviceSetMemPool cuDeviceTotalMem_v2 cuEventCreate cuEventDestroy_v2 cuEventElapsedTime
        cuEventElapsedTime_v2 cuEventQuery cuEventRecord cuEventSynchronize
        cuExternalMemoryGetMappedBuffer cuFuncGetAttribute cuFuncSetAttribute cuFuncSetCacheConfig
        cuGetErrorName cuGetErrorString cuGraphClone cuGraphDestroy cuGraphExecDestroy
        cuGraphInstantiateWithFlags cuGraphLaunch cuGraphUpload cuImportExternalMemory cuInit
        cuLaunchCooperativeKernel cuLaunchHostFunc cuLaunchKernel cuMemAddressFree
        cuMemAddressReserve cuMemAdvise_v2 cuMemAllocAsync cuMemAllocFromPoolAsync
        cuMemAllocManaged cuMemAlloc_v2 cuMemCreate cuMemFreeAsync cuMemFreeHost cuMemFree_v2
        cuMemGetAllocationGranularity cuMemGetInfo_v2 cuMemHostAlloc cuMemMap cuMemPoolCreate
        cuMemPoolDestroy cuMemPoolGetAttribute cuMemPoolSetAttribute cuMemPoolTrimTo
        cuMemPrefetchAsync_v2 cuMemRelease cuMemSetAccess cuMemUnmap cuMemcpyDtoDAsync_v2
        cuMemcpyDtoD_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoH_v2 cuMemcpyHtoDAsync_v2 cuMemcpyHtoD_v2
        cuMemcpyPeerAsync cuMemsetD8Async cuMemsetD8_v2 cuModuleGetFunction cuModuleGetGlobal_v2
        cuModuleLoad cuModuleLoadData cuModuleUnload cuOccupancyAvailableDynamicSMemPerBlock
        cuOccupancyMaxActiveBlocksPerMultiprocessor
        cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuOccupancyMaxActiveClusters
        cuOccupancyMaxPotentialBlockSize cuOccupancyMaxPotentialBlockSizeWithFlags
        cuOccupancyMaxPotentialClusterSize cuProfilerStart cuProfilerStop cuStreamAttachMemAsync
        cuStreamBeginCapture_v2 cuStreamCreate cuStreamCreateWithPriority cuStreamDestroy_v2
        cuStreamEndCapture cuStreamIsCapturing cuStreamSynchronize cuStreamWaitEvent;
    "cublas" Version::Cuda, absent 1:
        cublasCreate_v2 cublasDasum_v2 cublasDestroy_v2 cublasDgemmStridedBatched cublasDgemm_v2
        cublasDgemv_v2 cublasGemmBatchedEx cublasGemmEx cublasGemmGroupedBatchedEx
        cublasGemmStridedBatchedEx cublasGetPointerMode_v2 cublasGetStatusString cublasSasum_v2
        cublasSetMathMode cublasSetPointerMode_v2 cublasSetStream_v2 cublasSetWorkspace_v2
        cublasSgemmBatched cublasSgemmStridedBatched cublasSgemm_v2 cublasSgemv_v2
        cublasStrsmBatched;
    "cublasLt" Version::Cuda, absent 1:
        cublasLtCreate cublasLtDestroy cublasLtLoggerOpenFile cublasLtLoggerSetLevel
        cublasLtMatmul cublasLtMatmulAlgoGetHeuristic cublasLtMatmulDescCreate
        cublasLtMatmulDescDestroy cublasLtMatmulDescSetAttribute cublasLtMatmulPreferenceCreate
        cublasLtMatmulPreferenceDestroy cublasLtMatmulPreferenceSetAttribute
        cublasLtMatrixLayoutCreate cublasLtMatrixLayoutDestroy cublasLtMatrixLayoutSetAttribute;
    "curand" Version::Fixed(10), absent 101:
        curandCreateGenerator curandDestroyGenerator curandGenerate curandGenerateLogNormal
        curandGenerateLogNormalDouble curandGenerateLongLong curandGenerateNormal
        curandGenerateNormalDouble curandGeneratePoisson curandGenerateUniform
        curandGenerateUniformDouble curandSetGeneratorOffset curandSetPseudoRandomGeneratorSeed
        curandSetStream;
    "nvrtc" Version::Cuda, absent 11:
        nvrtcCompileProgram nvrtcCreateProgram nvrtcDestroyProgram nvrtcGetPTX nvrtcGetPTXSize
        nvrtcGetProgramLog nvrtcGetProgramLogSize;
}

// Never loaded: only kernels that training does not use call it. ggml has its own.
#[cfg(not(feature = "ggml-cuda"))]
libraries! { RUNTIME, runtime:
    "cudart" Version::Cuda, absent 3:
        __cudaGetKernel __cudaLaunchKernel __cudaLaunchKernel_ptsz __cudaPopCallConfiguration
        __cudaPushCallConfiguration __cudaRegisterFatBinary __cudaRegisterFatBinaryEnd
        __cudaRegisterFunction __cudaRegisterVar __cudaUnregisterFatBinary cudaDeviceGetAttribute
        cudaFree cudaFreeAsync cudaFreeAsync_ptsz cudaFuncGetAttributes cudaFuncSetAttribute
        cudaGetDevice cudaGetDeviceCount cudaGetErrorName cudaGetErrorString cudaGetLastError
        cudaLaunchKernel cudaLaunchKernel_ptsz cudaMalloc cudaMallocAsync cudaMallocAsync_ptsz
        cudaMemsetAsync cudaMemsetAsync_ptsz
        cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cudaPeekAtLastError cudaSetDevice
        cudaStreamSynchronize cudaStreamSynchronize_ptsz;
}

#[cfg(feature = "ggml-cuda")]
static RUNTIME: &[Library] = &[];

/// Loads CUDA's libraries on the first call.
///
/// # Errors
/// [`Absent`], which names the missing library.
pub fn open() -> Result<(), Absent> {
    static OPENED: OnceLock<Result<(), Absent>> = OnceLock::new();
    OPENED.get_or_init(find).clone()
}

fn find() -> Result<(), Absent> {
    // Keeps its entries in the program.
    std::hint::black_box(RUNTIME);
    for library in LIBRARIES {
        let version = match library.version {
            Version::Fixed(version) => version,
            Version::Cuda => CUDA_VERSION / 1000,
        };
        let handle = load(&format!("lib{}.so.{version}", library.name))?;
        for entry in library.entries {
            // An older library may lack some functions; their entries continue to return
            // the error.
            // SAFETY: the address is only jumped to, by callers that know the function's
            // type.
            if let Ok(found) = unsafe { handle.get::<unsafe extern "C" fn()>(entry.name) } {
                assert_ne!(*found as usize, entry.address as usize, "{} finds itself", entry.name);
                entry.slot.store(*found as *mut c_void, Ordering::Release);
            }
        }
        // Its functions are used until the program ends.
        std::mem::forget(handle);
    }
    Ok(())
}

/// Loads a library by name from the system's path, or else from the folders of a CUDA
/// toolkit.
fn load(file: &str) -> Result<Handle, Absent> {
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    let toolkits = toolkits.chain(["/usr/local/cuda".into()]).map(PathBuf::from);
    let places =
        toolkits.flat_map(|toolkit| ["lib64", "lib"].map(|lib| toolkit.join(lib).join(file)));
    // SAFETY: NVIDIA's libraries may be loaded at any time.
    let open = |place: PathBuf| unsafe { Handle::new(place) };
    open(file.into()).or_else(|why| {
        let mut there = places.filter(|place| place.is_file());
        there.find_map(|place| open(place).ok()).ok_or_else(|| {
            let why = why.source().map_or_else(|| why.to_string(), ToString::to_string);
            let remedy = "install them, or name their folder in LD_LIBRARY_PATH";
            match file {
                "libcuda.so.1" => {
                    Absent::Driver(format!("a GPU needs NVIDIA's driver ({why}): {remedy}"))
                }
                _ => Absent::Library(format!(
                    "a GPU needs the libraries of CUDA {} ({why}): {remedy}",
                    CUDA_VERSION / 1000
                )),
            }
        })
    })
}
