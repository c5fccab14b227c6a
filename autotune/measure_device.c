/* autotune/measure_device.c — the Measurer of real devices: rotated buffers filled with random data, warm-up, batches, comparison
 * of outputs.
 *
 * Cold caches: every call takes the next of many sets of inputs and outputs, which lie one after the other in one slab of memory. On a
 * GPU they are so many that a set has left the L2 when its turn comes again; weights lie inside the executor and do not rotate, so a
 * plan with weights of some size has the L2 flushed before each call instead. On the host what a call will touch is evicted line by
 * line. Calls below `min_window` are timed in batches over the rotated sets. */
#include "autotune/measure_device.h"
#include "autotune/tuner_internal.h"
#include "base/file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_CALLS = 64,
    CERTAINLY_LONG = 25,                /* times a short window */
    EVICTED_SETS = 16,
    CAPTURED_SETS = 16,                 /* a graph with library calls is kept for so many tuples of addresses */
    ALIGN = 256,
    POOL_ELEMENTS = 1000008,            /* of every type a multiple of 8 bytes, and of no usual row */
    POISON_BYTES = 1 << 22,
    CHECKED_ELEMENTS = 1 << 21
};

typedef struct { DType dtype; Dist dist; void *data; } RandomPool;

typedef struct {
    Measurer base;
    TuneDevice device;
    const ExecutorOps *ops;
    const DeviceTimerOps *timer_ops;
    Context *cx;                        /* of the device: its diagnostics */
    ExecDevice *v;                      /* NULL until the first session */
    DeviceTimer *timer;
    Vec(RandomPool) pools;              /* a million values of each distribution; tensors repeat them */
} DeviceMeasurer;

typedef struct { RowRun *runs; uint32_t n; int64_t columns; DType dtype; void *rows; } Drawn;      /* rows of an output */

struct MeasureSession {
    DeviceMeasurer *m;
    Arena *arena;
    Context *cx;                        /* items[0]'s: where the session reports */
    MeasureItem *items;
    uint32_t n;
    MeasureOptions o;
    Executor **executors;
    uint32_t *calls;                    /* in a window, of each item */
    const Plan *shape;                  /* any plan of the session: all have the same inputs and outputs */
    char *slab;                         /* n_sets times stride bytes on the device */
    size_t stride, *at;                 /* of a set; of each input and output in it */
    void **pointers;                    /* of the call at hand */
    uint32_t n_sets, next_set;
    bool flush;
    double enqueue;                     /* host seconds of one launch */
    double usual;                       /* seconds of the incumbent's second call, waited for */
    Drawn *want;                        /* of set 0, of each output: what the trusted item gives there, once known */
    uint32_t trusted;
    bool *poisoned;                     /* item was checked with poisoned outputs */
    uint64_t random;
    const uint32_t *order;              /* of the run at hand */
    uint32_t failed;                    /* item that failed in it, or UINT32_MAX */
};

static int64_t size_of(Dim d)
{
    int64_t v = 0;
    Str missing;
    bool known = dim_eval(d, NULL, 0, &v, &missing);
    pawl_assert(known, "measured plans have no free dims");
    return v;
}

static const PlanBuffer *input_of(const Plan *p, uint32_t i) { return &p->buffers.data[i]; }
static const PlanBuffer *output_of(const Plan *p, uint32_t i) { return &p->buffers.data[p->n_inputs + i]; }

/* The first error of a context as a candidate's outcome; the context is clean afterwards. */
static const char *outcome_from(MeasureSession *s, Context *cx, const char *what)
{
    const char *text = "no reason given";
    for (uint32_t i = 0; i < diags_count(cx->diags); i++)
        if (diags_at(cx->diags, i)->level == DIAG_ERROR) {
            text = diags_at(cx->diags, i)->text;
            break;
        }
    (void)s;
    text = arena_printf(cx->arena, "%s: %s", what, text);
    diags_clear(cx->diags);
    return text;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool dist_equal(Dist a, Dist b) { return a.kind == b.kind && a.a == b.a && a.b == b.b; }

static const void *random_values(DeviceMeasurer *m, DType t, Dist dist)
{
    vec_foreach(RandomPool, p, &m->pools)
        if (p->dtype == t && dist_equal(p->dist, dist))
            return p->data;
    RandomPool fresh = {t, dist, arena_alloc(m->cx->arena, (size_t)dtype_bytes(t) * POOL_ELEMENTS)};
    philox_fill(t, fresh.data, 0, POOL_ELEMENTS, philox_key(m->pools.n, "measure"), dist);
    vec_push(m->cx->arena, &m->pools, fresh);
    return fresh.data;
}

static Dist default_dist(DType t)
{
    if (dtype_is_float(t))
        return (Dist){DIST_NORMAL, 0, 1};
    return t == DT_BOOL ? (Dist){DIST_UNIFORM, 0, 1} : (Dist){DIST_CONSTANT, 0, 0};
}

static bool copy_elements(MeasureSession *s, void *to, const void *from, size_t n, uint32_t element)
{
    StridedCopy c = {.from = from, .to = to, .element = element, .rank = 1,
                     .shape = {(int64_t)n}, .from_strides = {1}, .to_strides = {1}};
    DeviceMeasurer *m = s->m;
    return n == 0 || m->ops->copy(m->v, &c, m->timer_ops->stream(m->timer), s->cx->diags);
}

/* What is there in the first `done` bytes is copied behind itself until there are `total`. */
static bool repeat_bytes(MeasureSession *s, char *at, size_t done, size_t total)
{
    for (; done < total; done *= 2) {
        size_t n = total - done < done ? total - done : done, whole = n / 8 * 8;
        if (!copy_elements(s, at + done, at, whole / 8, 8) || !copy_elements(s, at + done + whole, at + whole, n - whole, 1))
            return false;
    }
    return true;
}

/* `bytes` bytes on the device, of which `values` has the first `n` and the others repeat them. */
static bool put_bytes(MeasureSession *s, char *to, size_t bytes, const void *values, size_t n)
{
    DeviceMeasurer *m = s->m;
    n = bytes < n ? bytes : n;
    return m->ops->upload(m->v, to, values, n, m->timer_ops->stream(m->timer), s->cx->diags) && repeat_bytes(s, to, n, bytes);
}

static bool fill_input(MeasureSession *s, char *to, uint32_t input)
{
    const PlanBuffer *b = input_of(s->shape, input);
    Dist dist = s->o.dists ? s->o.dists[input] : default_dist(b->dtype);
    const void *values = random_values(s->m, b->dtype, dist);
    return put_bytes(s, to, (size_t)size_of(b->bytes), values, (size_t)dtype_bytes(b->dtype) * POOL_ELEMENTS);
}

/* The first set is filled, the others are copies of it. */
static bool fill_slab(MeasureSession *s)
{
    for (uint32_t i = 0; i < s->shape->n_inputs; i++)
        if (size_of(input_of(s->shape, i)->bytes) > 0 && !fill_input(s, s->slab + s->at[i], i))
            return false;
    return repeat_bytes(s, s->slab, s->stride, s->stride * s->n_sets);
}

static void **set_pointers(MeasureSession *s, uint32_t set)
{
    uint32_t n = s->shape->n_inputs + s->shape->n_outputs;
    for (uint32_t i = 0; i < n; i++)
        s->pointers[i] = s->slab + s->stride * set + s->at[i];
    return s->pointers;
}

static double weight_bytes(const Plan *p)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->weights.n; i++)
        sum += (double)size_of(p->buffers.data[p->weights.data[i].buffer].bytes);
    return sum;
}

/* Does the executor keep a captured graph for each tuple of addresses? */
static bool captures(const Plan *p)
{
    for (uint32_t i = 0; i < p->steps.n; i++)
        if (p->steps.data[i].kind == STEP_MATMUL)
            return p->steps.n > 1;
    return false;
}

static void lay_out(MeasureSession *s)
{
    uint32_t n = s->shape->n_inputs + s->shape->n_outputs;

    s->at = arena_new_array(s->arena, size_t, n + 1);
    s->pointers = arena_new_array(s->arena, void *, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        s->at[i] = s->stride;
        s->stride += ((size_t)size_of(s->shape->buffers.data[i].bytes) + ALIGN - 1) / ALIGN * ALIGN;
    }
    s->stride = s->stride ? s->stride : ALIGN;
}

/* As many sets as it takes to leave the cache; fewer where memory ends, and then with a flush. Where ranges can be evicted, as many
 * as a batch has calls. */
static bool make_sets(MeasureSession *s)
{
    DeviceMeasurer *m = s->m;
    double cache = m->timer_ops->cache_bytes(m->timer), want, most;

    lay_out(s);
    want = ceil(2 * cache / (double)s->stride) + 1;
    most = fmax(1, floor(m->timer_ops->max_bytes / (double)s->stride));
    if (m->timer_ops->evict && want > EVICTED_SETS)
        most = fmin(most, EVICTED_SETS);
    else if (captures(s->shape))
        most = fmin(most, CAPTURED_SETS);
    s->n_sets = (uint32_t)fmin(want, most);
    s->flush = weight_bytes(s->shape) > cache / 32 || s->n_sets < want;
    if (s->flush && !m->timer_ops->evict)
        s->n_sets = s->n_sets < 2 ? 1 : 2;

    for (; s->n_sets; s->n_sets /= 2) {
        Diags *d = diags_new(s->arena);
        s->slab = m->ops->alloc(m->v, s->stride * s->n_sets, s->n_sets == 1 ? s->cx->diags : d);
        if (s->slab)
            return fill_slab(s);
        s->flush = true;
    }
    return false;
}

/* ---- running --------------------------------------------------------------------------------- */

static bool call_once(MeasureSession *s, uint32_t item, uint32_t set)
{
    DeviceMeasurer *m = s->m;
    MeasureItem *it = &s->items[item];

    if (it->outcome)
        return true;
    void **p = set_pointers(s, set);
    if (m->ops->run(s->executors[item], p, p + s->shape->n_inputs, NULL, m->timer_ops->stream(m->timer), it->cx->diags))
        return true;
    it->outcome = outcome_from(s, it->cx, "launch failed");
    return false;
}

static uint32_t next_set(MeasureSession *s)
{
    uint32_t set = s->next_set;
    s->next_set = (s->next_set + 1) % s->n_sets;
    return set;
}

static bool window(void *arg, uint32_t e)
{
    MeasureSession *s = arg;
    uint32_t item = s->order[e];

    for (uint32_t i = 0; i < s->calls[item]; i++)
        if (!call_once(s, item, next_set(s))) {
            s->failed = item;
            return false;
        }
    return true;
}

static void evict(void *arg, uint32_t e)
{
    MeasureSession *s = arg;
    void (*put_out)(const void *, size_t) = s->m->timer_ops->evict;
    uint32_t item = s->order[e];
    const Plan *p = s->items[item].plan;

    for (uint32_t k = 0; k < s->calls[item]; k++) {
        void **at = set_pointers(s, (s->next_set + k) % s->n_sets);
        for (uint32_t i = 0; i < p->n_inputs + p->n_outputs; i++)
            put_out(at[i], (size_t)size_of(p->buffers.data[i].bytes));
    }
    for (uint32_t i = 0; i < p->weights.n; i++)
        if (p->weights.data[i].data)
            put_out(p->weights.data[i].data->data, tensor_bytes(p->weights.data[i].data));
}

static bool run_windows(MeasureSession *s, const uint32_t *order, uint32_t n, double *seconds)
{
    DeviceMeasurer *m = s->m;
    uint32_t *launches = arena_new_array(s->arena, uint32_t, n);

    s->order = order;
    for (;;) {
        s->failed = UINT32_MAX;
        for (uint32_t e = 0; e < n; e++)
            launches[e] = s->items[order[e]].outcome ? 0 : s->calls[order[e]];
        if (m->timer_ops->windows(m->timer, n, launches, s->enqueue, s->flush, window, evict, s,
                                  seconds, s->cx->diags))
            break;
        if (s->failed == UINT32_MAX)
            return false;              /* not an item: the device itself */
    }
    for (uint32_t e = 0; e < n; e++)
        seconds[e] = s->items[order[e]].outcome ? NAN : seconds[e] / s->calls[order[e]];
    return true;
}

static bool synchronize(MeasureSession *s, Diags *d)
{
    return s->m->ops->synchronize(s->m->v, s->m->timer_ops->stream(s->m->timer), d);
}

/* A candidate that is hopeless is not timed: some would take a second a call. Lazy loading is forgiven the first call, a hiccup all. */
static bool hopeless(const MeasureSession *s, double seconds, bool first)
{
    return s->usual > 0 && seconds > (first ? 20 : 4) * s->usual + 0.020;
}

/* Loads what loads lazily (a captured graph for each set, where there are such), and sees how long a call takes (*seconds, with the wait
 * for it), and how long it takes the host to enqueue it. */
static bool first_calls(MeasureSession *s, uint32_t item, double *seconds)
{
    MeasureItem *it = &s->items[item];
    uint32_t calls = captures(it->plan) ? s->n_sets + 1 : 2;
    double enqueued = 0, whole = 0;

    for (uint32_t k = 0; k < calls; k++) {
        double start = clock_seconds();
        if (!call_once(s, item, next_set(s)))
            return false;
        enqueued = clock_seconds() - start;
        if (!synchronize(s, it->cx->diags)) {
            it->outcome = outcome_from(s, it->cx, DEVICE_FAILED);
            return false;
        }
        whole = clock_seconds() - start;
        if (item > 0 && s->o.contest && hopeless(s, whole, k == 0)) {
            it->outcome = arena_printf(it->cx->arena, "too slow: %.0f ms where the incumbent takes %.1f ms", 1e3 * whole,
                                       1e3 * s->usual);
            return false;
        }
    }
    if (item == 0)
        s->usual = whole;
    s->enqueue = fmax(s->enqueue, fmin(enqueued, 1e-3));
    *seconds = whole;
    return true;
}

/* Some faults of a kernel (an address out of bounds) end the whole context: then no other item can be judged either. */
static bool device_lives(MeasureSession *s, uint32_t item)
{
    if (!s->items[item].outcome || synchronize(s, diags_new(s->arena)))
        return true;
    return diag_error(s->cx->diags, PAWL_EXIT_DEVICE, LOC_NONE,
                      "run it again: what was measured is kept, and this candidate is left out", "%s",
                      s->items[item].outcome);
}

/* Where a call may be too short for a window of its own, three single windows of each item size its batches. */
static bool warm_up(MeasureSession *s)
{
    const DeviceTimerOps *timer = s->m->timer_ops;
    uint32_t most = timer->evict ? s->n_sets : MAX_CALLS;
    double seconds[3], first = 0;

    for (uint32_t i = 0; i < s->n; i++) {
        const uint32_t order[3] = {i, i, i};
        s->calls[i] = 1;
        if (s->items[i].outcome)
            continue;
        if (i > 0 && s->o.give_up > 0 && clock_seconds() > s->o.give_up) {
            s->items[i].outcome = NOT_REACHED;
            continue;
        }
        if (!first_calls(s, i, &first)) {
            if (!device_lives(s, i))
                return false;
            continue;
        }
        if (first > CERTAINLY_LONG * timer->min_window)
            continue;
        if (!run_windows(s, order, 3, seconds))
            return false;
        double t = stats_median(seconds, 3);
        if ((!s->flush || timer->evict) && t < timer->min_window)
            s->calls[i] = (uint32_t)fmin(most, ceil(timer->batch_window / fmax(t, 1e-7)));
    }
    return true;
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* Bytes 0xff are NaN in every float type: what a kernel leaves unwritten shows. */
static bool poison(MeasureSession *s, Arena *a)
{
    void *bad = memset(arena_alloc(a, POISON_BYTES), 0xff, POISON_BYTES);

    for (uint32_t i = 0; i < s->shape->n_outputs; i++) {
        size_t bytes = (size_t)size_of(output_of(s->shape, i)->bytes);
        if (bytes > 0 && !put_bytes(s, s->slab + s->at[s->shape->n_inputs + i], bytes, bad, POISON_BYTES))
            return false;
    }
    return true;
}

/* Which rows of output `i` are compared, all through the session. */
static Drawn draw(MeasureSession *s, uint32_t i)
{
    const PlanBuffer *b = output_of(s->shape, i);
    Tensor t = {.dtype = b->dtype, .rank = (int)b->rank};
    for (uint32_t k = 0; k < b->rank; k++)
        t.dims[k] = size_of(b->shape[k]);
    Drawn d = {.dtype = b->dtype, .columns = b->rank ? t.dims[b->rank - 1] : 1};
    d.runs = measure_draw(&t, CHECKED_ELEMENTS, &s->random, s->arena, &d.n);
    return d;
}

/* Those rows of output `i`, which lies in set 0. NULL: diagnosed. */
static void *fetch(MeasureSession *s, uint32_t i, const Drawn *drawn, Arena *a, Diags *d)
{
    DeviceMeasurer *m = s->m;
    size_t row = (size_t)drawn->columns * dtype_bytes(drawn->dtype);
    const char *from = s->slab + s->at[s->shape->n_inputs + i];
    char *rows = arena_alloc(a, (size_t)measure_drawn(drawn->runs, drawn->n) * row), *to = rows;

    for (uint32_t r = 0; r < drawn->n; r++) {
        size_t bytes = (size_t)drawn->runs[r].n * row;
        if (bytes && !m->ops->download(m->v, to, from + (size_t)drawn->runs[r].first * row, bytes, m->timer_ops->stream(m->timer), d))
            return NULL;
        to += bytes;
    }
    return rows;
}

/* Runs the item on set 0, the first time over poison. False: failed, the item has its outcome. */
static bool run_checked(MeasureSession *s, uint32_t item, Arena *a)
{
    MeasureItem *it = &s->items[item];
    bool ok = s->poisoned[item] || poison(s, a);

    s->poisoned[item] = true;
    if (ok && call_once(s, item, 0) && synchronize(s, it->cx->diags))
        return true;
    if (!it->outcome)
        it->outcome = outcome_from(s, it->cx, "launch failed");
    return false;
}

static uint32_t library_calls(const Plan *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->steps.n; i++)
        n += p->steps.data[i].kind == STEP_MATMUL;
    return n;
}

/* Our own kernels are under test, whoever the incumbent is: where the library computes the same, its word counts. */
static uint32_t trusted_item(const MeasureSession *s)
{
    uint32_t trusted = 0, most = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t calls = s->items[i].outcome ? 0 : library_calls(s->items[i].plan);
        trusted = calls > most ? i : trusted;
        most = calls > most ? calls : most;
    }
    return trusted;
}

/* What the trusted item gives. NULL: failed, it has its outcome. */
static Drawn *wanted_rows(MeasureSession *s)
{
    s->trusted = trusted_item(s);
    MeasureItem *it = &s->items[s->trusted];
    Drawn *want = arena_new_array(s->arena, Drawn, s->shape->n_outputs + 1);

    if (!run_checked(s, s->trusted, s->arena))
        return NULL;
    for (uint32_t i = 0; i < s->shape->n_outputs; i++) {
        want[i] = draw(s, i);
        want[i].rows = fetch(s, i, &want[i], s->arena, it->cx->diags);
        if (!want[i].rows) {
            it->outcome = outcome_from(s, it->cx, "launch failed");
            return NULL;
        }
    }
    return want;
}

static NumClass loosest(const Numerics *n)
{
    return n->matmul > n->otherwise ? n->matmul : n->otherwise;
}

static bool near_wanted(MeasureSession *s, uint32_t item, Arena *a)
{
    MeasureItem *it = &s->items[item];

    for (uint32_t i = 0; i < s->shape->n_outputs; i++) {
        const char *why = NULL;
        const Drawn *want = &s->want[i];
        void *got = fetch(s, i, want, a, it->cx->diags);
        if (!got)
            it->outcome = outcome_from(s, it->cx, "launch failed");
        else if (!measure_near(want->dtype, want->columns, got, want->rows, want->runs, want->n, loosest(&s->o.numerics),
                               s->o.numerics.approx, a, &why))
            it->outcome = arena_printf(it->cx->arena, "wrong result: output %u: %s", i, why);
        if (it->outcome)
            return false;
    }
    return true;
}

static bool device_check(MeasureSession *s, uint32_t item)
{
    double start = clock_seconds();

    if (!s->want)
        s->want = wanted_rows(s);
    if (!s->want || s->items[item].outcome)
        return false;
    if (item == s->trusted)
        return true;
    Arena *a = arena_new();
    bool same = run_checked(s, item, a) && near_wanted(s, item, a);
    arena_free(a);
    s->m->base.spent.check += clock_seconds() - start;
    s->m->base.spent.checks++;
    return same;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static bool device_ready(DeviceMeasurer *m, Context *cx)
{
    if (m->timer)
        return true;
    pawl_session_options opt = {.size = sizeof opt, .device = m->device.spec, .threads = m->device.threads,
                                .use_graph = -1};
    if (!m->v)
        m->v = m->ops->device_open(m->cx, &opt);
    if (m->v)
        m->timer = m->timer_ops->open(m->cx, &m->device, m->v);
    if (m->timer)
        return true;
    diags_adopt(cx, m->cx);
    diags_clear(m->cx->diags);
    return false;
}

static void device_close(MeasureSession *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->executors[i])
            s->m->ops->close(s->executors[i]);
    if (s->slab)
        s->m->ops->release(s->m->v, s->slab);
    arena_free(s->arena);
}

static MeasureSession *device_session(Measurer *base, MeasureItem *items, uint32_t n, const MeasureOptions *o)
{
    DeviceMeasurer *m = base->arg;
    double start = clock_seconds();
    if (!device_ready(m, items[0].cx))
        return NULL;

    Arena *a = arena_new();
    MeasureSession *s = arena_new_of(a, MeasureSession);
    *s = (MeasureSession){.m = m, .arena = a, .cx = items[0].cx, .items = items, .n = n, .o = *o,
                          .random = o->seed + 1, .enqueue = 5e-6};
    s->executors = arena_new_array(a, Executor *, n);
    s->calls = arena_new_array(a, uint32_t, n);
    s->poisoned = arena_new_array(a, bool, n);
    for (uint32_t i = 0; i < n; i++) {
        if (items[i].outcome)
            continue;
        s->executors[i] = m->ops->open_on(m->v, items[i].cx, items[i].plan);
        if (!s->executors[i])
            items[i].outcome = outcome_from(s, items[i].cx, "launch failed");
        else if (!s->shape)
            s->shape = items[i].plan;
    }
    bool ready = !s->shape || (make_sets(s) && warm_up(s));
    m->base.spent.open += clock_seconds() - start;
    if (ready)
        return s;
    device_close(s);
    return NULL;
}

static void device_free(Measurer *base)
{
    DeviceMeasurer *m = base->arg;
    if (m->timer)
        m->timer_ops->close(m->timer);
    if (m->v)
        m->ops->device_close(m->v);
    context_free(m->cx);
    free(m);
}

Measurer *measurer_new(const TuneDevice *d)
{
    DeviceMeasurer *m = calloc(1, sizeof *m);
    if (!m)
        arena_exhausted(sizeof *m);
    m->base = (Measurer){.name = "device", .open = device_session, .run = run_windows, .check = device_check, .close = device_close,
                         .free = device_free, .arg = m};
    m->device = *d;
    m->cx = context_new();
    bool cuda = d->target == TARGET_CUDA;
    m->ops = cuda ? &executor_cuda : &executor_cpu;
    m->timer_ops = cuda ? &timer_cuda : &timer_cpu;
    return &m->base;
}

void measurer_free(Measurer *m)
{
    if (m && m->free)
        m->free(m);
}

bool measurer_touched_device(const Measurer *m)
{
    return m && m->free == device_free && ((const DeviceMeasurer *)m->arg)->v != NULL;
}
