/* pawl.h — run compiled packages. The public C API of libpawl, which holds nothing of the compiler.
 *
 *   pawl_package *p;   pawl_session *s;
 *   if (pawl_open("mlp.pawl", &p)) die(pawl_error());
 *   pawl_session_new(p, &(pawl_session_options){ .size = sizeof(pawl_session_options), .device = "auto" }, &s);
 *   pawl_tensor in[1] = {...}, out[1] = {...};
 *   pawl_run(s, in, 1, out, 1, stream);
 *
 * A package is immutable and may be shared between threads; a session (workspace, executables) belongs to one thread at a
 * time. Inputs and outputs belong to the caller and live where the session's device can reach them: host memory for "cpu" and
 * "sim", device memory for "cuda". All sizes are in bytes, strides in elements. Every function returns PAWL_OK or an error
 * code whose text pawl_error() gives (thread-local, valid until the next call on that thread).
 *
 * Inputs and outputs that are not dense row-major, or less aligned than the kernels need, are copied through memory of the
 * session: correct, slower. A session orders its own calls when they come on different streams; the stream of the last call
 * must then still exist. While a stream is being captured by the caller, the session's memory must not have to grow: run
 * each shape once before. */
#ifndef PAWL_H
#define PAWL_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#define PAWL_API __attribute__((visibility("default")))
#define PAWL_ABI_VERSION 1

typedef enum {
    PAWL_OK = 0,
    PAWL_ERROR_CHECK = 1,
    PAWL_ERROR_INVALID = 2,          /* bad argument, shape outside the package's guards, corrupt package */
    PAWL_ERROR_UNSUPPORTED = 3,
    PAWL_ERROR_DEVICE = 4,           /* no driver, no device, out of device memory, launch failure */
    PAWL_ERROR_INTERNAL = 5,
    PAWL_ERROR_IO = 7
} pawl_status;

typedef enum {                        /* same order as base/dtype.h */
    PAWL_F64, PAWL_F32, PAWL_F16, PAWL_BF16, PAWL_I64, PAWL_I32, PAWL_I8, PAWL_U8, PAWL_BOOL
} pawl_dtype;

#define PAWL_MAX_RANK 8
typedef struct {
    void   *data;
    int32_t dtype;                    /* pawl_dtype */
    int32_t rank;
    int64_t shape[PAWL_MAX_RANK];
    int64_t strides[PAWL_MAX_RANK];   /* in elements; all zero means dense row-major */
} pawl_tensor;

typedef struct pawl_package pawl_package;
typedef struct pawl_session pawl_session;

typedef struct {
    const char *name;
    int32_t dtype, rank;
    int64_t min[PAWL_MAX_RANK], max[PAWL_MAX_RANK];   /* admissible extents of each dim */
    const char *type;                                 /* as text: "bf16[B, S, 2048]" */
} pawl_io;

typedef struct {
    size_t size;                      /* sizeof(pawl_session_options): for later versions */
    const char *device;               /* "auto" (default), "cpu", "cuda", "cuda:1" */
    int32_t threads;                  /* cpu: 0 = all available */
    int32_t use_graph;                /* cuda: 0 or -1 auto (a graph when there are several launches), 1 always, 2 never */
} pawl_session_options;

PAWL_API uint32_t    pawl_abi_version(void);
PAWL_API const char *pawl_error(void);

PAWL_API pawl_status pawl_open(const char *path, pawl_package **out);
PAWL_API pawl_status pawl_open_memory(const void *image, size_t bytes, pawl_package **out);    /* borrows the image */
PAWL_API void        pawl_close(pawl_package *p);                                             /* after its sessions */
PAWL_API int32_t     pawl_input_count(const pawl_package *p);
PAWL_API int32_t     pawl_output_count(const pawl_package *p);
PAWL_API pawl_status pawl_input(const pawl_package *p, int32_t i, pawl_io *out);
PAWL_API pawl_status pawl_output(const pawl_package *p, int32_t i, pawl_io *out);
PAWL_API const char *pawl_manifest(const pawl_package *p);                                    /* JSON: versions, guards, decisions */

PAWL_API pawl_status pawl_session_new(pawl_package *p, const pawl_session_options *options, pawl_session **out);
PAWL_API void        pawl_session_free(pawl_session *s);
/* Shapes of the outputs for these inputs (data may be NULL). */
PAWL_API pawl_status pawl_infer(pawl_session *s, const pawl_tensor *in, int32_t n_in, pawl_tensor *out, int32_t n_out);
/* Enqueues one call on `stream` (a CUstream / cudaStream_t, or NULL for the default stream; ignored by cpu, which returns when done). */
PAWL_API pawl_status pawl_run(pawl_session *s, const pawl_tensor *in, int32_t n_in, const pawl_tensor *out, int32_t n_out, void *stream);
/* New content for weights, by name, from dense host memory. Weights that were made of others at compile time (stacked, moved,
 * scaled, split into f16 pieces) are made again, from all of their parts at once. PAWL_ERROR_UNSUPPORTED: those that took other
 * arithmetic (mark those parameters `mutable` in the task, or compile again), and new ones that f16 pieces cannot hold. All is checked before anything changes. */
PAWL_API pawl_status pawl_reload_weights(pawl_session *s, const char *const *names, const pawl_tensor *tensors, int32_t n);
/* Memory where the session's device reaches it, so that a program needs no toolkit of its own: device memory on "cuda", host
 * memory on "cpu". Upload and download return when done (downloads wait for `stream`). */
PAWL_API pawl_status pawl_alloc(pawl_session *s, size_t bytes, void **out);
PAWL_API void        pawl_free_memory(pawl_session *s, void *p);
PAWL_API pawl_status pawl_upload(pawl_session *s, void *to, const void *host, size_t bytes, void *stream);
PAWL_API pawl_status pawl_download(pawl_session *s, void *host, const void *from, size_t bytes, void *stream);
PAWL_API pawl_status pawl_synchronize(pawl_session *s, void *stream);    /* and reports what went wrong on the device until then */
PAWL_API const char *pawl_device(const pawl_session *s);                 /* "cpu", "cuda" */
/* Fills host memory with the values that every Pawl process draws for tensor `name` under `seed`; dist as in task specs. */
PAWL_API pawl_status pawl_fill(void *data, int32_t dtype, int64_t count, uint64_t seed, const char *name, const char *dist);
#ifdef __cplusplus
}
#endif
#endif
