/* autotune/timer_cuda.c — placeholder until runtime/cuda/timing.h is in. */
#include "autotune/measure_device.h"

static DeviceTimer *timer_open(Context *cx, const TuneDevice *d, ExecDevice *v)
{
    (void)d, (void)v;
    diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "timing on CUDA devices is not built yet");
    return NULL;
}

const DeviceTimerOps timer_cuda = {.open = timer_open};
