/* autotune/bench.h — `pawl bench`: whole workloads on a device, against their floor and against unfused code. */
#pragma once
#include "autotune/ceilings.h"
#include "autotune/measure.h"
#include "codegen/codegen.h"

typedef struct BenchOptions {
    CompileOptions compile;
    TuneDevice device;
    Db *db;                         /* tuned schedules and picks; may be NULL */
    bool unfused;                   /* also the same workload with one group a node */
    uint32_t pairs;                 /* 0: 30 */
    uint32_t warmup;                /* pairs before those that count */
    double max_seconds;             /* of timing a workload; 0: 5 */
    Measurer *measurer;             /* NULL: by device */
    uint64_t seed;
} BenchOptions;

typedef struct BenchRow {
    const char *task, *workload, *device;
    Interval us, unfused_us, speedup;       /* speedup: unfused / fused */
    double p10_us, p90_us;
    uint32_t samples, launches, unfused_launches, tuned_groups, groups;
    Floor floor; double ratio_to_floor;
    double bytes_second, flops_second;      /* achieved, of the floor's bytes and flops */
    const char *failed;                     /* NULL, or why there is no figure */
    double *samples_us;                     /* all of them, for --export-json */
} BenchRow;

/* One row a workload; rows in cx's arena. False: diagnosed. */
bool bench_task(Context *cx, Task *t, const Workload *const *workloads, uint32_t n, const BenchOptions *o, BenchRow **rows);
