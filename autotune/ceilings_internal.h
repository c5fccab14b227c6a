/* autotune/ceilings_internal.h — how ceilings are measured, a file a target. */
#pragma once
#include "autotune/ceilings.h"

/* Fill what they can measure; figures that they cannot stay as they are. False: diagnosed. */
bool ceilings_cpu(Context *cx, const TuneDevice *d, Machine *m);
bool ceilings_cuda(Context *cx, const TuneDevice *d, Machine *m);
