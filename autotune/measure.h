/* autotune/measure.h — times plans side by side on a device, as numerics.md (Timing) wants it: cold caches, random data,
 * interleaved, short ones in batches, outputs compared.
 *
 * A session holds several plans that compute the same thing from the same inputs; item 0 is the incumbent. A Measurer
 * is a small table of functions, so that tests put a fake one in its place. */
#pragma once
#include "autotune/device.h"
#include "autotune/stats.h"
#include "ir/import/task.h"
#include "runtime/plan.h"

/* How the outcome of an item begins that took the device with it. */
#define DEVICE_FAILED "device failed"
#define NOT_REACHED   "not reached within the budget"

typedef struct MeasureItem {
    Context *cx;                    /* the context that owns the plan; used by this thread during the session */
    const Plan *plan;               /* NULL: not measured, `outcome` says why */
    const char *outcome;            /* NULL while all is well; else "launch failed: …", "wrong result: …", "out of device memory" */
} MeasureItem;

typedef struct MeasureOptions {
    Numerics numerics;              /* how near outputs must be */
    const Dist *dists;              /* of each input, in plan order; NULL: normal(0, 1), indices 0 */
    const double *predicted;        /* seconds of each item, or NULL: sizes the first try */
    uint64_t seed;
    bool check;                     /* compare outputs with the incumbent's */
    bool contest;                   /* items that have no chance against the incumbent are not timed: "too slow: …" */
    double give_up;                 /* on clock_seconds: items that have not run once by then are NOT_REACHED; 0: never */
} MeasureOptions;

typedef struct MeasureSession MeasureSession;
typedef struct Measurer Measurer;
struct Measurer {
    const char *name;
    struct { double open, check; uint32_t checks; } spent;      /* seconds, since it was made: filling and warming up; comparing */
    /* Loads the plans, fills inputs, warms up, sizes batches. Items that fail get an outcome. NULL: the incumbent itself or the device
     * fails; diagnosed in items[0].cx. */
    MeasureSession *(*open)(Measurer *m, MeasureItem *items, uint32_t n, const MeasureOptions *o);
    /* Times items in the given order: seconds[e] of one call of item order[e] (mean over its batch). An item that fails gets its
     * outcome and NaN. False: the device is gone; diagnosed in items[0].cx. */
    bool (*run)(MeasureSession *s, const uint32_t *order, uint32_t n, double *seconds);
    /* Runs item and another one that is trusted (the library's where one is among them, else the incumbent) on the same inputs and compares
     * their outputs; false: the item has its outcome. */
    bool (*check)(MeasureSession *s, uint32_t item);
    void (*close)(MeasureSession *s);
    void (*free)(Measurer *m);
    void *arg;                      /* its own */
};

/* The real ones (measure_device.c): open the device at their first session and keep it until they are freed. */
Measurer *measurer_new(const TuneDevice *d);
void      measurer_free(Measurer *m);               /* NULL is allowed */
bool      measurer_touched_device(const Measurer *m);

/* ---- on top of any Measurer ---------------------------------------------------------------------------------------------------- */
typedef struct Samples { double *x; uint32_t n, cap; } Samples;
/* `blocks` interleaved blocks of the items which[0 … n-1] (ABBA): appends one sample an item and block to samples[which[i]]. A random
 * tenth of the blocks (at least one a call when `check`) is followed by a comparison of outputs. */
bool measure_blocks(Measurer *m, MeasureSession *s, MeasureItem *items, const uint32_t *which, uint32_t n, uint32_t blocks,
                    bool check, uint64_t *random, Samples *samples, Arena *a);

/* Rows (of the last dim) to compare of a result, about `max_elements` (0: all), drawn in runs that are worth fetching from a device one by
 * one; the first and the last row are always among them. Ascending; in `a`. */
typedef struct { int64_t first, n; } RowRun;
RowRun *measure_draw(const Tensor *t, int64_t max_elements, uint64_t *random, Arena *a, uint32_t *n);
int64_t measure_drawn(const RowRun *runs, uint32_t n);             /* rows */
/* Are two results of one computation near enough in such rows, which lie one after the other in `got` and `want`? Row by row: 2 units
 * in the last place of the output, or some of the class's units times the row's magnitude (gross errors are found here; the gate
 * judges finely). Integers must be equal. On false `why` (in `a`) has the first bad element. */
bool measure_near(DType t, int64_t columns, const void *got, const void *want, const RowRun *runs, uint32_t n, NumClass c, double approx,
                  Arena *a, const char **why);
