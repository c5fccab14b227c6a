/* autotune/device.h — which device is meant, and the words by which results about it are remembered. Never makes a CUDA
 * context: a second `tune` of the same thing touches no GPU. */
#pragma once
#include "base/context.h"
#include "codegen/machine.h"

/* Raised when a kind's space or the meaning of a schedule changes, and when an emitter's code changes speed: what was measured
 * before is then measured again. */
#define TUNE_SPACE_VERSION   11
#define TUNE_EMITTER_VERSION 11

typedef struct TuneDevice {
    PlanTarget target;
    int  ordinal;                   /* cuda: number of the device; -1: not on this machine (compile only) */
    int  threads;                   /* cpu: threads used */
    Str  spec;                      /* "cpu", "cuda:0": what pawl_session_options takes; NULL when not on this machine */
    Str  name;                      /* "NVIDIA H200", or the host's CPU model */
    Str  arch;                      /* "sm_90a", "x86-64-v4" */
    Str  environment;               /* "driver=13000 cublasLt=13.1.0.3 nvrtc=13.0 emitter=1 space=1", "threads=8 emitter=1 space=1" */
} TuneDevice;

/* spec: "auto" or NULL (cuda where there is a GPU, else cpu), "cpu", "cuda", "cuda:N". False: diagnosed (PAWL_EXIT_DEVICE with the
 * driver's reason, PAWL_EXIT_INVALID for an unknown spec). */
bool tune_device(Context *cx, const char *spec, bool use_library, TuneDevice *out);
/* A device that is not here, by architecture, for ahead-of-time compilation with imported tunings. */
bool tune_device_named(Context *cx, const char *name, const char *arch, TuneDevice *out);
