#include "tests/codegen/simulate.h"

#include "codegen/group.h"
#include "codegen/kind.h"
#include "ir/eval.h"
#include "ir/eval_internal.h"
#include "ir/text.h"

#include <math.h>
#include <stdio.h>

/* ---- one block, or the blocks of a cluster, in step: their threads one after the other ---------------------------------------- */
enum { MANY = UINT32_MAX };
/* Who wrote and who read last, since which barrier, and how often the thread's warp had met; reader, read_warp MANY: several. afar: meeting of
 * the cluster since another block wrote. */
typedef struct { uint32_t epoch, writer, met, read_epoch, reader, read_warp, read_met, afar; } Mark;
typedef struct { const KInst *n; uint32_t thread; int64_t to; double words[4]; uint32_t group; } Copy;    /* group 0: not committed */
typedef struct Sim {
    const Kernel *k;
    Arena *a;
    void *const *buffers;
    const int64_t *counts;
    uint32_t threads, epoch, meetings;        /* threads: of all blocks; meetings of the cluster, one ahead */
    double *values;                   /* [id][thread][16]; integers and bits are exact below 2^53 */
    double **carry;                   /* by id of a loop or if: [value][thread][16] */
    double **shared; Mark **marks;    /* block by block */
    Vec(Copy) copies;                 /* under way */
    uint32_t *commits;                /* groups a thread has committed */
    uint32_t *met;                    /* a warp each: how often its threads have met */
    bool *waited, places_wait;        /* by thread: past a K_WAIT */
    bool *active;
    Map *syms;                        /* symbol -> int64 a thread */
    bool ok;
} Sim;

static double *cell(Sim *s, const KInst *n, uint32_t t) { return s->values + ((size_t)n->id * s->threads + t) * 16; }

static bool fail(Sim *s, const KInst *n, const char *why)
{
    if (s->ok)
        fprintf(stderr, "kernel %s, %%%u: %s\n", s->k->name, n->id, why);
    return s->ok = false;
}

static void set_sym(Sim *s, Dim sym, uint32_t t, int64_t v)
{
    if (dim_is_const(sym))
        return;
    int64_t *all = map_get_ptr(s->syms, sym);
    if (!all) {
        all = arena_new_array(s->a, int64_t, s->threads);
        map_set_ptr(s->syms, sym, all);
    }
    all[t] = v;
}

static void set_lanes(Sim *s, uint32_t t, int64_t lane)
{
    for (uint32_t lanes = 2; lanes <= 16; lanes *= 2)
        set_sym(s, kernel_lane(s->k->cx->dims, lanes), t, lane);
}

static int64_t value_of(Sim *s, Dim d, uint32_t t)
{
    int64_t sum = d->value, a, b;
    switch (d->kind) {
    case DIM_CONST: return d->value;
    case DIM_SYM: {
        const int64_t *all = map_get_ptr(s->syms, d);
        pawl_assert(all, "symbol %s has no value", d->name);
        return all[t];
    }
    case DIM_SUM:
        for (uint32_t i = 0; i < d->n_terms; i++) {
            int64_t term = d->terms[i].coef;
            for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
                term *= value_of(s, d->terms[i].atoms[j], t);
            sum += term;
        }
        return sum;
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX: break;
    }
    a = value_of(s, d->a, t), b = value_of(s, d->b, t);
    if (d->kind == DIM_MIN || d->kind == DIM_MAX)
        return (d->kind == DIM_MIN) == (a < b) ? a : b;
    int64_t q = a / b - (a % b < 0);
    return d->kind == DIM_FLOORDIV ? q : a - q * b;
}

/* ---- memory --------------------------------------------------------------------------------------------------------------- */
/* Until it has waited for its predecessors, a kernel sees weights only. */
static bool too_early(Sim *s, const KInst *n, uint32_t t)
{
    if (!s->places_wait || s->waited[t] || s->k->buffers.data[n->buffer].frozen)
        return false;
    fail(s, n, "touches memory before it has waited for the kernels before it");
    return true;
}

static bool masked_off(Sim *s, const KInst *n, uint32_t at, uint32_t t, uint32_t lane)
{
    if (n->n_args <= at)
        return false;
    const KInst *m = n->args[at];
    return !cell(s, m, t)[m->type.lanes > 1 ? lane : 0];
}

static void load(Sim *s, const KInst *n, uint32_t t)
{
    DType type = s->k->buffers.data[n->buffer].dtype;
    if (too_early(s, n, t))
        return;
    for (uint32_t l = 0; l < n->type.lanes; l++) {
        cell(s, n, t)[l] = dtype_is_float(type) ? n->f : (double)n->i;
        if (masked_off(s, n, 0, t, l))
            continue;
        set_lanes(s, t, l);
        int64_t i = value_of(s, n->index, t);
        if (i < 0 || i >= s->counts[n->buffer]) {
            fail(s, n, "load out of bounds");
            return;
        }
        cell(s, n, t)[l] = dtype_load(type, (char *)s->buffers[n->buffer] + i * dtype_bytes(type));
    }
}

static void load_raw(Sim *s, const KInst *n, uint32_t t, double *out)
{
    int32_t words[4] = {0};
    int64_t i = value_of(s, n->index, t);
    if (!masked_off(s, n, 0, t, 0)) {
        if (i < 0 || i % 8 || i + 8 > s->counts[n->buffer]) {
            fail(s, n, "raw load out of bounds or not aligned");
            return;
        }
        if (too_early(s, n, t))
            return;
        memcpy(words, (char *)s->buffers[n->buffer] + 2 * i, sizeof words);
    }
    for (uint32_t l = 0; l < 4; l++)
        out[l] = words[l];
}

static void store(Sim *s, const KInst *n, uint32_t t)
{
    DType type = s->k->buffers.data[n->buffer].dtype;
    if (too_early(s, n, t))
        return;
    for (uint32_t l = 0; l < n->args[0]->type.lanes; l++) {
        if (masked_off(s, n, 1, t, l))
            continue;
        set_lanes(s, t, l);
        int64_t i = value_of(s, n->index, t);
        if (i < 0 || i >= s->counts[n->buffer]) {
            fail(s, n, "store out of bounds");
            return;
        }
        dtype_store(type, (char *)s->buffers[n->buffer] + i * dtype_bytes(type), cell(s, n->args[0], t)[l]);
    }
}

/* Two threads at one place between two barriers, one of them writing; those of a warp may also meet. */
static bool races(const Sim *s, const Mark *m, uint32_t t, bool writes)
{
    bool after_write = m->epoch == s->epoch && m->writer != t && (m->writer / 32 != t / 32 || m->met == s->met[t / 32]);
    bool after_read = m->read_epoch == s->epoch && m->reader != t && (m->read_warp != t / 32 || m->read_met == s->met[t / 32]);
    return after_write || (writes && after_read);
}

static void mark_shared(Sim *s, const KInst *n, uint32_t array, int64_t i, uint32_t t, bool writes)
{
    Mark *m = &s->marks[array][i];
    if (races(s, m, t, writes))
        fail(s, n, "a race in shared memory");
    if (m->afar == s->meetings)
        fail(s, n, "touches what another block of the cluster has written, before they have met");
    if (writes) {
        m->epoch = s->epoch;
        m->writer = t;
        m->met = s->met[t / 32];
    } else {
        bool again = m->read_epoch == s->epoch;
        m->reader = again && m->reader != t ? MANY : t;
        m->read_warp = again && m->read_warp != t / 32 ? MANY : t / 32;
        m->read_epoch = s->epoch;
        m->read_met = s->met[t / 32];
    }
}

static void shared_access(Sim *s, const KInst *n, uint32_t t)
{
    bool is_store = n->kind != K_SHARED_LOAD;
    int64_t count = s->k->shared.data[n->buffer].count, own = t / s->k->threads;
    uint32_t lanes = is_store ? n->args[0]->type.lanes : n->type.lanes;
    for (uint32_t l = 0; l < lanes; l++) {
        if (is_store && masked_off(s, n, 1, t, l))
            continue;
        set_lanes(s, t, l);
        int64_t i = value_of(s, n->index, t), rank = n->kind == K_CLUSTER_STORE ? value_of(s, n->bound, t) : own;
        if (i < 0 || i >= count || rank < 0 || rank >= s->threads / s->k->threads || (n->kind == K_CLUSTER_STORE && s->meetings < 2)) {
            fail(s, n, "shared access out of bounds, or to a block that may not have begun");
            return;
        }
        i += rank * count;
        mark_shared(s, n, n->buffer, i, t, is_store);
        s->marks[n->buffer][i].afar = rank == own ? 0 : s->meetings;
        if (is_store)
            s->shared[n->buffer][i] = cell(s, n->args[0], t)[l];
        else if (isnan(cell(s, n, t)[l] = s->shared[n->buffer][i]) && s->k->shared.data[n->buffer].dtype == DT_I32)
            fail(s, n, "reads what nobody wrote, or what a copy has not brought yet");
    }
}

/* The copy arrives when it is waited for, and no earlier; from now on what was there before is gone. */
static void copy_async(Sim *s, const KInst *n, uint32_t t)
{
    Copy c = {.n = n, .thread = t, .to = value_of(s, n->bound, t)};
    if (c.to < 0 || c.to % 4 || c.to + 4 > s->k->shared.data[n->i].count) {
        fail(s, n, "an asynchronous copy to outside the shared array");
        return;
    }
    load_raw(s, n, t, c.words);
    c.to += (int64_t)(t / s->k->threads) * s->k->shared.data[n->i].count;
    for (uint32_t l = 0; l < 4; l++) {
        mark_shared(s, n, (uint32_t)n->i, c.to + l, t, true);
        s->shared[n->i][c.to + l] = NAN;
    }
    vec_push(s->a, &s->copies, c);
}

static void copy_commit(Sim *s, uint32_t t)
{
    s->commits[t]++;
    vec_foreach(Copy, c, &s->copies)
        if (c->thread == t && !c->group)
            c->group = s->commits[t];
}

static void copy_wait(Sim *s, const KInst *n, uint32_t t)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->copies.n; i++) {
        Copy c = s->copies.data[i];
        if (c.thread != t || !c.group || c.group + (uint32_t)n->i > s->commits[t]) {
            s->copies.data[kept++] = c;
            continue;
        }
        for (uint32_t l = 0; l < 4; l++) {
            mark_shared(s, c.n, (uint32_t)c.n->i, c.to + l, t, true);
            s->shared[c.n->i][c.to + l] = c.words[l];
        }
    }
    s->copies.n = kept;
}

/* ---- arithmetic ----------------------------------------------------------------------------------------------------------- */
static double op_value(const KInst *n, const double *a)
{
    DType in = n->args[n->op == OP_WHERE]->type.dtype, out = n->type.dtype;
    if (dtype_is_float(in) || dtype_is_float(out))
        return dtype_round(out, eval_op_real(n->op, a[0], a[1], a[2]));
    Value v[3];
    for (uint32_t i = 0; i < 3; i++)
        v[i] = (Value){.v = a[i], .i = a[i] >= 0x1p63 ? INT64_MAX : (int64_t)a[i]};
    return (double)eval_op_integer(n->op, out, in, v);
}

static void op(Sim *s, const KInst *n, uint32_t t)
{
    for (uint32_t l = 0; l < n->type.lanes; l++) {
        double a[3] = {0};
        for (uint32_t i = 0; i < n->n_args; i++)
            a[i] = cell(s, n->args[i], t)[l];
        cell(s, n, t)[l] = op_value(n, a);
    }
}

static void lane_reduce(Sim *s, const KInst *n, uint32_t t)
{
    double v[16];
    memcpy(v, cell(s, n->args[0], t), sizeof v);
    for (uint32_t half = n->args[0]->type.lanes / 2; half; half /= 2)
        for (uint32_t l = 0; l < half; l++)
            v[l] = dtype_round(n->type.dtype, eval_op_real(n->op, v[l], v[l + half], 0));
    cell(s, n, t)[0] = v[0];
}

static double half_of(DType t, const double *words, uint32_t i)
{
    uint32_t w = (uint32_t)(int32_t)words[i / 2];
    uint16_t bits = (uint16_t)(i % 2 ? w >> 16 : w);
    return dtype_load(t, &bits);
}

/* What kir.h says of k_mma, thread by thread, from PTX's fragments of m16n8k16 (groupID g, threadID_in_group c): a product for the low
 * words, one for the high ones. a0, a1: rows g and g + 8 at k = 2c, 2c + 1; a2, a3: the same at k + 8; b0, b1 likewise. */
static void mma(Sim *s, const KInst *n, uint32_t warp)
{
    DType type = (DType)n->i;
    for (uint32_t t = 0; t < 32; t++)
        memcpy(cell(s, n, warp * 32 + t), cell(s, n->args[0], warp * 32 + t), 4 * sizeof(double));
    for (uint32_t half = 0; half < 2; half++) {
        double a[16][16], b[16][8];
        for (uint32_t t = 0; t < 32; t++) {
            uint32_t g = t / 4, c = t % 4;
            const double *w0 = cell(s, n->args[1], warp * 32 + t), *w1 = cell(s, n->args[2], warp * 32 + t),
                         *x = cell(s, n->args[3], warp * 32 + t);
            for (uint32_t i = 0; i < 4; i++) {                    /* values of two words of this half */
                uint32_t k = 2 * c + i % 2 + 8 * (i / 2), from = 4 * half + i;
                a[g][k] = half_of(type, w0, from);
                a[g + 8][k] = half_of(type, w1, from);
                b[k][g] = half_of(type, x, from);
            }
        }
        for (uint32_t t = 0; t < 32; t++)
            for (uint32_t i = 0; i < 4; i++) {
                uint32_t row = t / 4 + 8 * (i / 2), col = 2 * (t % 4) + i % 2;
                double sum = cell(s, n, warp * 32 + t)[i];
                for (uint32_t k = 0; k < 16; k++)
                    sum += a[row][k] * b[k][col];
                cell(s, n, warp * 32 + t)[i] = dtype_round(DT_F32, sum);
            }
    }
}

static void index_or_test(Sim *s, const KInst *n, uint32_t t)
{
    for (uint32_t l = 0; l < n->type.lanes; l++) {
        set_lanes(s, t, l);
        int64_t a = value_of(s, n->index, t);
        cell(s, n, t)[l] = n->kind == K_INDEX ? (double)a : a < value_of(s, n->bound, t);
    }
}

static void atomic_add(Sim *s, const KInst *n, uint32_t t)
{
    DType type = s->k->buffers.data[n->buffer].dtype;
    char *p = (char *)s->buffers[n->buffer] + value_of(s, n->index, t) * dtype_bytes(type);
    cell(s, n, t)[0] = dtype_load(type, p);
    dtype_store(type, p, cell(s, n, t)[0] + cell(s, n->args[0], t)[0]);
}

/* ---- control flow ----------------------------------------------------------------------------------------------------------- */
static void run_block(Sim *s, const KBlock *b);

static double *carried(Sim *s, const KInst *of, uint32_t i, uint32_t t) { return s->carry[of->id] + ((size_t)i * s->threads + t) * 16; }

static void carry_over(Sim *s, const KInst *of, KInst *const *from, uint32_t n)
{
    double *next = arena_alloc(s->a, (size_t)(n + 1) * s->threads * 16 * sizeof *next);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t t = 0; t < s->threads; t++)
            memcpy(next + ((size_t)i * s->threads + t) * 16, s->active[t] || !s->carry[of->id] ? cell(s, from[i], t) : carried(s, of, i, t),
                   16 * sizeof *next);
    s->carry[of->id] = next;
}

/* Threads may have bounds of their own: those that are done wait for the others. */
static void loop(Sim *s, const KInst *n)
{
    bool *outer = s->active, *inside = arena_new_array(s->a, bool, s->threads), any = true;
    int64_t *at = arena_new_array(s->a, int64_t, s->threads), *hi = arena_new_array(s->a, int64_t, s->threads);
    for (uint32_t t = 0; t < s->threads; t++)
        at[t] = value_of(s, n->index, t), hi[t] = value_of(s, n->bound, t);
    s->carry[n->id] = NULL;
    carry_over(s, n, n->args, n->n_args);
    s->active = inside;
    while (s->ok) {
        any = false;
        for (uint32_t t = 0; t < s->threads; t++) {
            any |= inside[t] = outer[t] && at[t] < hi[t];
            if (inside[t])
                set_sym(s, n->var, t, at[t]);
            at[t] += n->i;
        }
        if (!any)
            break;
        run_block(s, &n->body);
        carry_over(s, n, n->yield, n->n_yield);
    }
    s->active = outer;
}

static void branch(Sim *s, const KInst *n)
{
    bool *outer = s->active;
    for (int other = 0; other < 2 && s->ok; other++) {
        bool any = false;
        s->active = arena_new_array(s->a, bool, s->threads);
        for (uint32_t t = 0; t < s->threads; t++)
            any |= s->active[t] = outer[t] && (cell(s, n->args[0], t)[0] != 0) == !other;
        if (any)
            run_block(s, other ? &n->other : &n->body);
        carry_over(s, n, other ? n->yield_other : n->yield, n->n_yield);
    }
    s->active = outer;
}

static void run_thread(Sim *s, const KInst *n, uint32_t t)
{
    double *v = cell(s, n, t), *a = n->n_args ? cell(s, n->args[0], t) : NULL;
    uint32_t lanes = n->type.lanes;
    switch (n->kind) {
    case K_CONST:
        for (uint32_t l = 0; l < lanes; l++)
            v[l] = dtype_is_float(n->type.dtype) ? n->f : (double)n->i;
        return;
    case K_INDEX: case K_TEST: index_or_test(s, n, t); return;
    case K_LOAD:     load(s, n, t); return;
    case K_LOAD_RAW: load_raw(s, n, t, v); return;
    case K_STORE:    store(s, n, t); return;
    case K_SHARED_LOAD: case K_SHARED_STORE: case K_CLUSTER_STORE: shared_access(s, n, t); return;
    case K_OP:       op(s, n, t); return;
    case K_CAST:
        for (uint32_t l = 0; l < lanes; l++)
            v[l] = dtype_round(n->type.dtype, a[l]);
        return;
    case K_SPLAT:
        for (uint32_t l = 0; l < lanes; l++)
            v[l] = a[0];
        return;
    case K_LANE:        v[0] = a[n->i]; return;
    case K_LANE_REDUCE: lane_reduce(s, n, t); return;
    case K_SHUFFLE_XOR: memcpy(v, cell(s, n->args[0], t ^ (uint32_t)n->i), lanes * sizeof *v); return;
    case K_MMA:
        if (t % 32 == 0)
            mma(s, n, t / 32);
        return;
    case K_BIND:  set_sym(s, n->var, t, (int64_t)a[0]); return;
    case K_CARRY: case K_RESULT: memcpy(v, carried(s, n->of, (uint32_t)n->i, t), lanes * sizeof *v); return;
    case K_ATOMIC_ADD: atomic_add(s, n, t); return;
    case K_COPY_ASYNC:  copy_async(s, n, t); return;
    case K_WARP_SYNC:   s->met[t / 32] += t % 32 == 0; return;
    case K_COPY_COMMIT: copy_commit(s, t); return;
    case K_COPY_WAIT:   copy_wait(s, n, t); return;
    case K_WAIT:        s->waited[t] = true; return;
    case K_SUM: case K_BULK_FENCE: case K_BULK_STORE: case K_BULK_COMMIT: case K_BULK_WAIT:
        (void)fail(s, n, "the body of a product");
        return;
    case K_FENCE: case K_BARRIER: case K_LOOP: case K_IF: case K_LAUNCH_NEXT: case K_CLUSTER_ARRIVE: case K_CLUSTER_WAIT: return;
    }
}

static bool barrier_together(Sim *s, const KInst *n)
{
    for (uint32_t t = 1; t < s->threads; t++)
        if (s->active[t] != s->active[0])
            return fail(s, n, "a barrier that some threads do not reach");
    return true;
}

static void run_block(Sim *s, const KBlock *b)
{
    for (uint32_t i = 0; i < b->n && s->ok; i++) {
        const KInst *n = b->data[i];
        if (n->kind == K_LOOP)
            loop(s, n);
        else if (n->kind == K_IF)
            branch(s, n);
        else if ((n->kind == K_BARRIER || n->kind == K_CLUSTER_WAIT) && barrier_together(s, n))
            s->epoch++;
        s->meetings += n->kind == K_CLUSTER_WAIT;
        for (uint32_t t = 0; t < s->threads && s->ok; t++)
            if (s->active[t])
                run_thread(s, n, t);
    }
}

bool simulate_kernel(const Kernel *k, void *const *buffers, const int64_t *counts)
{
    bool ok = true;
    uint32_t blocks = k->cluster > 1 ? k->cluster : 1, threads = blocks * k->threads;
    for (int64_t block = 0; block < k->grid[0]->value && ok; block += blocks) {
        Sim s = {.k = k, .a = arena_new(), .buffers = buffers, .counts = counts, .threads = threads, .epoch = 1, .meetings = 1, .ok = true};
        s.syms = map_new(s.a);
        s.values = arena_alloc(s.a, (size_t)(k->n_ids + 1) * threads * 16 * sizeof *s.values);
        s.carry = arena_new_array(s.a, double *, k->n_ids + 1);
        s.active = arena_new_array(s.a, bool, threads);
        s.waited = arena_new_array(s.a, bool, threads);
        s.commits = arena_new_array(s.a, uint32_t, threads);
        s.met = arena_new_array(s.a, uint32_t, threads / 32 + 1);
        s.places_wait = kernel_places_wait(k);
        s.shared = arena_new_array(s.a, double *, k->shared.n + 1);
        s.marks = arena_new_array(s.a, Mark *, k->shared.n + 1);
        for (uint32_t i = 0; i < k->shared.n; i++) {
            uint32_t count = blocks * k->shared.data[i].count;
            s.shared[i] = arena_new_array(s.a, double, count);
            s.marks[i] = arena_new_array(s.a, Mark, count);
            for (uint32_t j = 0; j < count; j++)
                s.shared[i][j] = NAN;
        }
        for (uint32_t t = 0; t < threads; t++) {
            s.active[t] = true;
            set_sym(&s, k->thread, t, t % k->threads);
            set_sym(&s, k->block[0], t, block + t / k->threads);
        }
        run_block(&s, &k->body);
        if (s.copies.n)
            fail(&s, s.copies.data[0].n, "ends while a copy is under way");
        ok = s.ok;
        arena_free(s.a);
    }
    return ok;
}

/* ---- a graph ---------------------------------------------------------------------------------------------------------------- */
typedef struct { Context *cx; Map *tensors; Vec(void *) buffers; Vec(int64_t) counts; Kernel *k; } Running;

static Tensor *tensor_like(Context *cx, const Node *n)
{
    int64_t dims[MAX_RANK];
    for (uint32_t d = 0; d < node_rank(n); d++)
        dims[d] = n->type.shape.d[d]->value;
    Tensor *t = tensor_new(cx->arena, n->type.dtype, (int)node_rank(n), dims);
    memset(t->data, 0xff, tensor_bytes(t));
    return t;
}

static uint32_t give_buffer(Running *r, const char *name, DType t, void *data, int64_t count, bool written, bool frozen)
{
    uint32_t b = kernel_buffer(r->k, str_intern(r->cx->strs, name), t, dim_const(r->cx->dims, count), 16);
    vec_push(r->cx->arena, &r->buffers, data);
    vec_push(r->cx->arena, &r->counts, count);
    r->k->buffers.data[b].written = written;
    r->k->buffers.data[b].read = !written;
    r->k->buffers.data[b].frozen = frozen;
    return b;
}

static uint32_t scratch(void *arg, const char *name, DType t, Dim count, bool zeroed)
{
    Running *r = arg;
    void *data = arena_alloc(r->cx->arena, (size_t)count->value * dtype_bytes(t));
    memset(data, zeroed ? 0 : 0xff, (size_t)count->value * dtype_bytes(t));
    return give_buffer(r, name, t, data, count->value, true, false);
}

static bool run_group(Context *cx, Group *g, const Schedule *sch, const CodegenOptions *o, const SimulateOptions *so, Map *tensors)
{
    const KernelKind *kind = kind_find(sch->kind);
    if (!kind->build)
        return false;
    KindProblem p = {cx, g, &o->machine, o};
    Running r = {.cx = cx, .tensors = tensors, .k = kernel_new(cx, cx->arena, sch->kind, false, kind->threads(&p, sch))};
    kernel_grid(r.k, kind->grid(&p, sch), dim_const(cx->dims, 1), dim_const(cx->dims, 1));
    KindBuild kb = {.problem = p, .s = sch, .k = r.k, .l = lower_new(r.k, cx->arena), .block = r.k->block[0], .thread = r.k->thread,
                    .scratch = scratch, .scratch_arg = &r};
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        Tensor *t = map_get_ptr(tensors, g->inputs.data[i]);
        pawl_assert(t, "group %u reads %%%u before it is there", g->id, g->inputs.data[i]->id);
        lower_buffer(kb.l, g->inputs.data[i], give_buffer(&r, "in", t->dtype, t->data, (int64_t)tensor_count(t), false, g->inputs.data[i]->op == OP_PARAM));
    }
    uint32_t *out = arena_new_array(cx->arena, uint32_t, g->outputs.n);
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        Tensor *t = tensor_like(cx, g->outputs.data[i].node);
        map_set_ptr(tensors, g->outputs.data[i].node, t);
        out[i] = give_buffer(&r, "out", t->dtype, t->data, (int64_t)tensor_count(t), true, false);
    }
    kb.out_buffer = out;
    if (!kind->build(&kb))
        return false;
    kernel_collect_scalars(r.k);
    if (!kernel_verify(r.k, cx->diags))
        return false;
    return so->instead ? so->instead(r.k, so->arch, so->arg) : simulate_kernel(r.k, r.buffers.data, r.counts.data);
}

static bool check(Context *cx, const char *text, const SimulateOptions *so, uint64_t seed, StrBuf *used)
{
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", text));
    CodegenOptions o = {.fuse = true, .use_library = so->library};
    if (!g || !machine_cuda(cx, so->arch, &o.machine))
        return false;
    Map *tensors = map_new(cx->arena);
    Tensor *in[64], *out[64];
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        in[i] = tensor_like(cx, g->inputs.data[i].node);
        philox_fill(in[i]->dtype, in[i]->data, 0, tensor_count(in[i]), philox_key(seed, g->inputs.data[i].name), g->inputs.data[i].dist);
        map_set_ptr(tensors, g->inputs.data[i].node, in[i]);
    }
    Groups *gs = groups_form(cx, g, &o);
    bool found = !so->kind;
    for (uint32_t i = 0; i < gs->n; i++) {
        uint32_t n;
        Schedule *space = group_space(cx, gs->g[i], &o, cx->arena, &n), *s = NULL;
        uint32_t first = 0, count = 0;
        while (so->kind && first < n && strcmp(space[first].kind, so->kind))
            first++;
        first = first < n ? first : 0;                                 /* a group that the kind does not take: any */
        while (first + count < n && space[first + count].kind == space[first].kind)
            count++;
        s = n ? &space[first + so->schedule % count] : NULL;
        found |= s && so->kind && !strcmp(s->kind, so->kind);
        if (s) {
            schedule_print(used, s);
            strbuf_add(used, "\n");
        }
        if (!s || !run_group(cx, gs->g[i], s, &o, so, tensors))
            return false;
    }
    if (so->instead)
        return found;
    for (uint32_t i = 0; i < g->outputs.n; i++)
        if (!(out[i] = map_get_ptr(tensors, g->outputs.data[i].node)))
            return false;
    VerifyReport r;
    if (!found || !verify_outputs(NULL, g, in, out, seed, cx->arena, &r))
        return false;
    for (uint32_t i = 0; i < r.n; i++)
        if (!r.out[i].pass)
            fprintf(stderr, "output %s: %s\n", g->outputs.data[i].name, verdict_text(cx->arena, &r.out[i]));
    return r.pass;
}

bool simulate_graph(const char *text, const SimulateOptions *o, uint64_t seed)
{
    Context *cx = context_new();
    StrBuf used = strbuf_new(cx->arena);
    strbuf_add(&used, "");
    bool ok = check(cx, text, o, seed, &used);
    if (!ok) {
        diags_print(cx->diags, stderr, false);
        fprintf(stderr, "simulated for %s, schedule %u:\n%s%s\n", o->arch, o->schedule, used.text, text);
    }
    context_free(cx);
    return ok;
}
