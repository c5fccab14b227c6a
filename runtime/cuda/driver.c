/* runtime/cuda/driver.c — finds libcuda and devices; turns the driver's errors into sentences. */
#include "runtime/cuda/driver.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_DEVICES = 64, OLDEST_DRIVER = 12000 };

/* What a process knows of CUDA: the driver is process-wide, and so is this. */
static struct {
    pthread_mutex_t lock;
    void *(*source)(const char *symbol);
    bool tried, good;
    CudaDriver driver;
    char why_not[512];
    int count, version;
    bool probed[MAX_DEVICES];
    CudaDevice devices[MAX_DEVICES];
    char device_why[MAX_DEVICES][256];
    CuContext contexts[MAX_DEVICES];
} cuda = {.lock = PTHREAD_MUTEX_INITIALIZER};

void cuda_driver_set_source(void *(*find)(const char *symbol)) { cuda.source = find; }

/* ---- loading ---- */

__attribute__((format(printf, 1, 2)))
static bool unavailable(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cuda.why_not, sizeof cuda.why_not, fmt, ap);
    va_end(ap);
    return false;
}

static bool load_functions(void *library)
{
    const struct { bool needed; const char *symbol; void **slot; } all[] = {
#define X(name, symbol, params) {true, symbol, (void **)(void *)&cuda.driver.name},
        CUDA_FUNCTIONS(X)
#undef X
#define X(name, symbol, params) {false, symbol, (void **)(void *)&cuda.driver.name},
        CUDA_OPTIONAL(X)
#undef X
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].slot = library ? dlsym(library, all[i].symbol) : cuda.source(all[i].symbol);
        if (!*all[i].slot && all[i].needed)
            return unavailable("the NVIDIA driver is too old: it has no %s; install a driver for CUDA 12 or newer (525 or later)",
                               all[i].symbol);
    }
    return true;
}

/* cuInit says "no device" both without a GPU and where its device files cannot be opened. */
static const char *device_files(void)
{
    int fd = open("/dev/nvidiactl", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return "the driver is there, but shows no GPU: is CUDA_VISIBLE_DEVICES set to hide it?";
    }
    if (errno == ENOENT)
        return "there is no /dev/nvidiactl: no NVIDIA GPU, its kernel module is not loaded, or the container was started without "
               "access to it (docker run --gpus all)";
    return "/dev/nvidiactl cannot be opened: ask for permission to use the GPU (group video or render, or the container's devices)";
}

static bool explain_init(int r)
{
    switch (r) {
    case CU_NO_DEVICE:
        return unavailable("no CUDA device: %s", device_files());
    case CU_STUB_LIBRARY:
        return unavailable("the libcuda found is the toolkit's stub, not the driver's: remove its folder from LD_LIBRARY_PATH");
    case CU_SYSTEM_NOT_READY:
        return unavailable("the GPUs are not ready (error 802): start nvidia-fabricmanager, or wait for it");
    case CU_DRIVER_MISMATCH:
        return unavailable("libcuda and the loaded kernel driver are of different versions (error 803): reboot, or reload the driver");
    case CU_COMPAT_UNSUPPORTED:
        return unavailable("this GPU does not take the forward compatibility libcuda (error 804): remove cuda-compat from LD_LIBRARY_PATH");
    case CU_OPERATING_SYSTEM: case CU_NOT_PERMITTED:
        return unavailable("the operating system refused access to the GPU (error %d): %s", r, device_files());
    default: {
        const char *name = NULL;
        cuda.driver.GetErrorName(r, &name);
        return unavailable("the NVIDIA driver does not start: %s (error %d)", name ? name : "unknown error", r);
    }
    }
}

static bool load_driver(void)
{
    void *library = NULL;
    if (!cuda.source) {
        library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            return unavailable("libcuda.so.1 is not there: no NVIDIA driver is installed, or this container does not see it");
    }
    if (!load_functions(library))
        return false;
    int r = cuda.driver.Init(0);
    if (r != CU_OK)
        return explain_init(r);
    if (cuda.driver.DriverGetVersion(&cuda.version) != CU_OK || cuda.version < OLDEST_DRIVER)
        return unavailable("the NVIDIA driver supports CUDA %d.%d, 12.0 is needed: install driver 525 or later", cuda.version / 1000,
                           cuda.version % 1000 / 10);
    if (cuda.driver.DeviceGetCount(&cuda.count) != CU_OK || cuda.count < 1)
        return unavailable("no CUDA device: %s", device_files());
    return true;
}

static bool ready(void)
{
    if (!cuda.tried) {
        cuda.tried = true;
        cuda.good = load_driver();
    }
    return cuda.good;
}

const CudaDriver *cuda_driver(const char **why_not)
{
    pthread_mutex_lock(&cuda.lock);
    bool good = ready();
    pthread_mutex_unlock(&cuda.lock);
    if (why_not)
        *why_not = good ? NULL : cuda.why_not;
    return good ? &cuda.driver : NULL;
}

/* ---- devices ---- */

static void probe(int ordinal, CudaDevice *v)
{
    const CudaDriver *cu = &cuda.driver;
    int device = 0, l2 = 0, shared = 0;
    v->driver_version = cuda.version;
    int r = cu->DeviceGet(&device, ordinal);
    r = r ? r : cu->DeviceGetName(v->name, sizeof v->name, device);
    r = r ? r : cu->DeviceGetAttribute(&v->sm_major, CU_ATTR_CC_MAJOR, device);
    r = r ? r : cu->DeviceGetAttribute(&v->sm_minor, CU_ATTR_CC_MINOR, device);
    r = r ? r : cu->DeviceGetAttribute(&v->sm_count, CU_ATTR_SM_COUNT, device);
    r = r ? r : cu->DeviceGetAttribute(&l2, CU_ATTR_L2_BYTES, device);
    r = r ? r : cu->DeviceGetAttribute(&shared, CU_ATTR_SHARED_OPTIN, device);
    r = r ? r : cu->DeviceTotalMem(&v->memory_bytes, device);
    v->l2_bytes = (size_t)l2;
    v->shared_per_block = (size_t)shared;
    char *why = cuda.device_why[ordinal];
    if (r != CU_OK)
        snprintf(why, sizeof cuda.device_why[0], "CUDA device %d cannot be asked for its properties (error %d)", ordinal, r);
    else if (v->sm_major < 8)
        snprintf(why, sizeof cuda.device_why[0], "CUDA device %d has compute capability %d.%d; 8.0 (Ampere) or newer is needed",
                 ordinal, v->sm_major, v->sm_minor);
    v->available = r == CU_OK && v->sm_major >= 8;
    v->why_not = v->available ? NULL : why;
}

const CudaDevice *cuda_device(int ordinal)
{
    static const CudaDevice absent = {.why_not = "there is no CUDA device of that number: see `nvidia-smi -L`"};
    static CudaDevice none;
    const CudaDevice *v = &absent;
    pthread_mutex_lock(&cuda.lock);
    if (!ready()) {
        none.why_not = cuda.why_not;
        v = &none;
    } else if (ordinal >= 0 && ordinal < cuda.count && ordinal < MAX_DEVICES) {
        if (!cuda.probed[ordinal])
            probe(ordinal, &cuda.devices[ordinal]);
        cuda.probed[ordinal] = true;
        v = &cuda.devices[ordinal];
    }
    pthread_mutex_unlock(&cuda.lock);
    return v;
}

int cuda_ordinal(const char *device)
{
    int64_t n = 0;
    return device && strncmp(device, "cuda:", 5) == 0 && str_to_i64(device + 5, &n) ? (int)n : 0;
}

CuContext cuda_context(int ordinal, Diags *d)
{
    const CudaDevice *v = cuda_device(ordinal);
    if (!v->available) {
        diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "%s", v->why_not);
        return NULL;
    }
    pthread_mutex_lock(&cuda.lock);
    int device = 0, r = CU_OK;
    if (!cuda.contexts[ordinal]) {
        r = cuda.driver.DeviceGet(&device, ordinal);
        r = r ? r : cuda.driver.PrimaryRetain(&cuda.contexts[ordinal], device);
        if (r)
            cuda.contexts[ordinal] = NULL;
    }
    CuContext ctx = cuda.contexts[ordinal];
    pthread_mutex_unlock(&cuda.lock);
    cuda_check(&cuda.driver, r, "starting the device's context", d);
    return ctx;
}

bool cuda_enter(const CudaDriver *cu, CuContext ctx, CudaScope *scope, Diags *d)
{
    CuContext now = NULL;
    *scope = (CudaScope){cu, false};
    if (cu->CtxGetCurrent(&now) == CU_OK && now == ctx)
        return true;
    scope->pushed = cuda_check(cu, cu->CtxPush(ctx), "making the device's context current", d);
    return scope->pushed;
}

void cuda_leave(CudaScope *scope)
{
    CuContext popped;
    if (scope->pushed)
        scope->cu->CtxPop(&popped);
    scope->pushed = false;
}

/* ---- errors ---- */

static const char *remedy(int r)
{
    switch (r) {
    case CU_OUT_OF_MEMORY: return "free device memory (nvidia-smi shows who uses it), or run smaller shapes";
    case CU_DEVICE_UNAVAILABLE: return "another process holds the device in exclusive mode";
    case CU_NO_BINARY: case CU_INVALID_IMAGE: return "the code was not compiled for this GPU: compile the package again for its architecture";
    case CU_INVALID_PTX: case CU_JIT_MISSING: return "the driver cannot compile the package's PTX: update it, or ship cubins for this GPU";
    case CU_PTX_VERSION: return "the package's PTX is newer than the driver: update the driver, or ship cubins for this GPU";
    case CU_ILLEGAL_ADDRESS: return "a kernel of this process read or wrote outside its buffers (perhaps in an earlier call); the context "
                                    "is lost: start the process again, and look with compute-sanitizer";
    case CU_MISALIGNED: return "a kernel of this process made a misaligned access (perhaps in an earlier call); the context is lost: "
                               "start the process again";
    case CU_LAUNCH_FAILED: return "a kernel of this process failed (perhaps in an earlier call); the context is lost: start the process again";
    case CU_LAUNCH_RESOURCES: return "the kernel needs more registers or shared memory than the GPU has a block";
    case CU_CAPTURE_UNSUPPORTED: case CU_CAPTURE_WRONG_THREAD:
        return "a stream of this process is being captured into a graph in a way that forbids this call: run each shape once before capturing";
    case CU_CAPTURE_IMPLICIT: return "another stream is being captured: pass a stream of your own instead of the default one";
    default: return NULL;
    }
}

bool cuda_check(const CudaDriver *cu, int result, const char *doing, Diags *d)
{
    if (result == CU_OK)
        return true;
    const char *name = NULL, *text = NULL;
    cu->GetErrorName(result, &name);
    cu->GetErrorString(result, &text);
    return diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, remedy(result), "CUDA error while %s: %s (%s)", doing, text ? text : "unknown error",
                      name ? name : "?");
}

CuPtr cuda_alloc(const CudaDriver *cu, size_t bytes, const char *what, Diags *d)
{
    CuPtr p = 0;
    size_t available = 0, total = 0;
    int r = cu->MemAlloc(&p, bytes ? bytes : 1);
    if (r == CU_OK)
        return p;
    if (r != CU_OUT_OF_MEMORY || cu->MemGetInfo(&available, &total) != CU_OK) {
        cuda_check(cu, r, "allocating device memory", d);
        return 0;
    }
    const double gib = 1.0 / (1 << 30);
    diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, remedy(r), "no device memory for %.3f GiB of %s: %.3f of %.3f GiB are free",
               (double)bytes * gib, what, (double)available * gib, (double)total * gib);
    return 0;
}
