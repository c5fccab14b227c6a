/* codegen/emit/emit.h — printers of kernel IR: CUDA C, LLVM for the host, LLVM for PTX; and the tools that turn text into code. */
#pragma once
#include "codegen/kir.h"

/* CUDA C for NVRTC: readable, names from the task, no headers needed. Several kernels make one translation unit. */
char *emit_cuda(Arena *a, Kernel *const *k, uint32_t n);

/* Functions with the host ABI of runtime/plan.h in one ELF object. arch: "native", "x86-64-v2", "x86-64-v3", "x86-64-v4".
 * False: diagnosed. The result lives in `a`. */
bool emit_host(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch, const void **object, size_t *len);
/* The same; inline_math: fp32 functions as code in line (math_expand.c) instead of calls of libmvec. */
bool emit_host_math(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch, bool inline_math, const void **object,
                    size_t *len);
char *emit_host_ir(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch);     /* LLVM text, optimised */
const char *host_arch(void);                                     /* best x86-64-vN of this machine */

/* PTX through LLVM's NVPTX backend; arch "sm_80", "sm_90a", … */
char *emit_ptx(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch);

/* NVRTC, nvJitLink, ptxas: loaded or found at run time, each absence a sentence. */
typedef struct { const void *cubin; size_t len; const char *log; uint32_t registers, spill_bytes, shared_bytes, lost; double seconds; } Cubin;
bool nvrtc_available(const char **version_or_why_not);
bool nvrtc_compile(Arena *a, Diags *d, const char *source, const char *name, const char *arch, Cubin *out);
bool nvrtc_ptx(Arena *a, Diags *d, const char *source, const char *name, const char *arch, char **ptx);
bool assembler_available(const char **version_or_why_not);       /* nvJitLink, else ptxas */
bool ptx_assemble(Arena *a, Diags *d, const char *ptx, const char *arch, Cubin *out);
