/* autotune/ceilings.h — what a device can do at best, measured once and remembered; and floors: no program is faster. */
#pragma once
#include "autotune/db.h"
#include "autotune/device.h"
#include "codegen/machine.h"
#include "ir/import/task.h"

/* The machine model of a device: machine_cpu or machine_cuda, with ceilings from the database where it has them (`db` may be
 * NULL). Measures nothing. */
bool machine_of(Context *cx, const TuneDevice *d, Db *db, Machine *out);
/* The same; what is not in the database is measured (about a second: copy bandwidth, fp32 FMA, matmul through cuBLASLt, launch
 * cost) and stored. `again` measures anew. False: diagnosed. */
bool machine_measured(Context *cx, const TuneDevice *d, Db *db, bool again, Machine *out);

/* The least that any program for this graph must move and do. Bytes: every input, parameter and output once. Arithmetic: of the
 * simplified graph at the ceilings of the numerics class. */
typedef struct Floor {
    double bytes, matmul_flops, other_flops;
    double seconds_bytes, seconds_flops, seconds;
    const char *bound;              /* "bytes" or "arithmetic" */
} Floor;
Floor graph_floor(const Graph *specialised, const Machine *m, const Numerics *numerics);
