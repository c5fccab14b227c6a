/* runtime/sim/machine.c — a launch: its checks, clusters coming and going, the turn of the warps.
 *
 * CTAs run in order, one cluster at a time, each warp for a while. Where the running ones wait or spin for what only a later CTA
 * does (a grid-wide barrier), more clusters join them. */
#include "runtime/sim/check.h"
#include "runtime/sim/run.h"
#include "base/file.h"
#include <stdlib.h>

enum { QUANTUM = 4096, PATIENCE = 64 /* rounds before another cluster joins */, MAX_RESIDENT = 4096 };

typedef struct {
    SimMachine *m;
    Vec(uint64_t) todo;                  /* clusters, in the order in which they start */
    uint32_t next;
    SimCluster *resident[MAX_RESIDENT];
    uint32_t n_resident, grid[3] /* clusters */, cluster[3];
} Run;

/* ---- checks of a launch ---- */

static bool bad_launch(Diags *d, const char *what) { return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the launch is not possible: %s", what); }

static bool check_shape(const PtxFunction *f, const SimLaunch *l, const uint32_t cluster[3], Diags *d)
{
    uint64_t threads = 1, most = 1;
    for (int i = 0; i < 3; i++) {
        threads *= l->block[i];
        most *= f->max_threads[i] ? f->max_threads[i] : 1;
        if (l->grid[i] == 0 || l->block[i] == 0)
            return bad_launch(d, "a size of the grid or block is 0");
        if (l->grid[i] > (i ? 65535u : 2147483647u))
            return bad_launch(d, "the grid is larger than 2147483647 x 65535 x 65535");
        if (f->req_threads[0] && l->block[i] != f->req_threads[i])
            return bad_launch(d, "the block differs from the kernel's .reqntid");
        if (cluster[i] == 0 || l->grid[i] % cluster[i])
            return bad_launch(d, "the grid is not a multiple of the cluster");
    }
    if (threads > SIM_MAX_THREADS || l->block[2] > 64)
        return bad_launch(d, "a block may have 1024 threads, and 64 in z");
    if (f->max_threads[0] && threads > most)
        return bad_launch(d, "the block has more threads than the kernel's .maxntid");
    if (cluster[0] * cluster[1] * cluster[2] > 16)
        return bad_launch(d, "a cluster may have 16 CTAs");
    return true;
}

/* Offsets of the shared variables that the kernel uses, those of open size behind the others; returns the end of the others. */
static uint64_t place_shared(const PtxModule *p, const PtxFunction *f, uint32_t *offsets)
{
    uint64_t at = 0, fixed = 0;
    for (int open = 0; open < 2; open++) {
        fixed = at;
        for (uint32_t i = 0; i < p->shared.n; i++) {
            const PtxVar *v = p->shared.data[i];
            if (!map_has(f->shared, (uint64_t)(uintptr_t)v) || (v->bytes == 0) != open)
                continue;
            uint64_t from = ((open ? fixed : at) + v->align - 1) / v->align * v->align;
            if (offsets)
                offsets[i] = (uint32_t)from;
            at = from + v->bytes > at ? from + v->bytes : at;
        }
    }
    return at;
}

uint32_t sim_static_shared(const PtxModule *module, const PtxFunction *f) { return (uint32_t)place_shared(module, f, NULL); }

static bool lay_out_shared(SimMachine *m, Diags *d)
{
    uint64_t limit = m->launch->shared_limit ? m->launch->shared_limit : SIM_SHARED_LIMIT;
    m->shared_at = arena_new_array(m->arena, uint32_t, m->module->shared.n + 1);
    uint64_t all = place_shared(m->module, m->entry, m->shared_at);
    m->static_shared = (uint32_t)all;
    all += m->launch->dynamic_shared;
    m->shared_bytes = (uint32_t)all;
    if (all > limit)
        return diag_error(d, PAWL_EXIT_CHECK_FAILED, m->entry->loc, NULL, "%s needs %llu bytes of shared memory (%u of them dynamic), a CTA has %llu",
                          m->entry->name, (unsigned long long)all, m->launch->dynamic_shared, (unsigned long long)limit);
    return true;
}

static bool take_args(SimMachine *m, Diags *d)
{
    const PtxFunction *f = m->entry;
    if (m->launch->n_args != f->params.n)
        return diag_error(d, PAWL_EXIT_INVALID, f->loc, NULL, "%s takes %u parameters, %u were given", f->name, f->params.n, m->launch->n_args);
    m->param_bytes = f->param_bytes;
    m->params = arena_alloc(m->arena, f->param_bytes + 64u);
    m->params += -(uintptr_t)m->params % 64;
    for (uint32_t i = 0; i < f->params.n; i++)
        memcpy(m->params + f->params.data[i]->at, m->launch->args[i], f->params.data[i]->bytes);
    return true;
}

/* ---- constants ---- */

static uint64_t variable_address(const SimMachine *m, const PtxVar *v)
{
    return v->space == SPACE_SHARED ? m->shared_at[v->at] : v->space == SPACE_GLOBAL || v->space == SPACE_CONST ? m->globals[v->at] : v->at;
}

static void broadcast(uint32_t *to, uint64_t value, uint32_t bytes)
{
    for (uint32_t l = 0; l < LANES; l++)
        if (bytes >= 8)
            memcpy((uint8_t *)to + 8 * (size_t)l, &value, 8);
        else if (bytes == 2)
            ((uint16_t *)(void *)to)[l] = (uint16_t)value;
        else
            to[l] = (uint32_t)value;
}

static void make_constants(SimMachine *m)
{
    const PtxModule *p = m->module;
    uint8_t *room = arena_alloc(m->arena, ((size_t)p->constants.n + 4) * SLOT_WORDS * 4 + 64);
    m->constants = (uint32_t *)(void *)(room + (-(uintptr_t)room & 63));
    for (uint32_t i = 0; i < p->constants.n; i++) {
        uint32_t bytes = p->constant_bytes.data[i];
        if (bytes == 255)
            continue;
        uint64_t v = p->constants.data[i];
        if (bytes >= 8)
            v |= (uint64_t)p->constants.data[i + 1] << 32;
        broadcast(m->constants + (size_t)i * SLOT_WORDS, v, bytes);
    }
    vec_foreach(PtxAddress, a, &p->addresses)
        broadcast(m->constants + (size_t)a->slot * SLOT_WORDS, variable_address(m, a->var) + (uint64_t)a->add, a->bytes);
}

/* ---- clusters, CTAs ---- */

static void unlinear(uint64_t n, const uint32_t size[3], uint32_t out[3])
{
    out[0] = (uint32_t)(n % size[0]);
    out[1] = (uint32_t)(n / size[0] % size[1]);
    out[2] = (uint32_t)(n / size[0] / size[1]);
}

static void set_special(SimWarp *w, PtxSpecial s, uint32_t v)
{
    for (uint32_t l = 0; l < LANES; l++)
        w->specials[(size_t)s * SLOT_WORDS + l] = v;
}

static void set_triple(SimWarp *w, PtxSpecial x, const uint32_t v[3])
{
    for (int i = 0; i < 3; i++)
        set_special(w, (PtxSpecial)((int)x + i), v[i]);
}

static void fill_specials(Run *r, SimWarp *w)
{
    SimCta *c = w->cta;
    const SimLaunch *l = r->m->launch;
    uint32_t cta_in_cluster[3];
    unlinear(c->rank, r->cluster, cta_in_cluster);
    for (uint32_t i = 0; i < LANES; i++) {
        uint32_t tid[3], *s = w->specials + i;
        unlinear(w->first_thread + i, l->block, tid);
        for (uint32_t k = 0; k < 3; k++)
            s[(SR_TID_X + k) * SLOT_WORDS] = tid[k];
        s[SR_LANEID * SLOT_WORDS] = i;
        s[SR_LANEMASK_EQ * SLOT_WORDS] = 1u << i;
        s[SR_LANEMASK_LT * SLOT_WORDS] = (1u << i) - 1;
        s[SR_LANEMASK_LE * SLOT_WORDS] = (2u << i) - 1;
        s[SR_LANEMASK_GE * SLOT_WORDS] = ~((1u << i) - 1);
        s[SR_LANEMASK_GT * SLOT_WORDS] = ~((2u << i) - 1);
    }
    set_triple(w, SR_NTID_X, l->block);
    set_triple(w, SR_CTAID_X, c->id);
    set_triple(w, SR_NCTAID_X, l->grid);
    set_triple(w, SR_CLUSTERID_X, c->cluster->id);
    set_triple(w, SR_NCLUSTERID_X, r->grid);
    set_triple(w, SR_CLUSTER_CTAID_X, cta_in_cluster);
    set_triple(w, SR_CLUSTER_NCTAID_X, r->cluster);
    set_special(w, SR_CLUSTER_CTARANK, c->rank);
    set_special(w, SR_CLUSTER_NCTARANK, c->cluster->n_ctas);
    set_special(w, SR_WARPID, w->index);
    set_special(w, SR_NWARPID, c->n_warps);
    set_special(w, SR_SMID, (uint32_t)(c->linear % 132));
    set_special(w, SR_NSMID, 132);
    set_special(w, SR_DYNAMIC_SMEM_SIZE, l->dynamic_shared);
    set_special(w, SR_TOTAL_SMEM_SIZE, r->m->shared_bytes);
    set_special(w, SR_WARP_SIZE, LANES);
}

static void *zeroed(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) {
        fputs("pawl: out of memory\n", stderr);
        exit(PAWL_EXIT_DEVICE);
    }
    return p;
}

static void begin_warp(Run *r, SimCta *c, uint32_t i)
{
    SimWarp *w = &c->warps[i];
    uint32_t n = c->n_threads - i * LANES;
    *w = (SimWarp){.cta = c, .machine = r->m, .index = i, .first_thread = i * LANES, .lanes = n >= LANES ? UINT32_MAX : (1u << n) - 1};
    w->specials = zeroed((size_t)SR_FIXED_COUNT * SLOT_WORDS, 4);
    fill_specials(r, w);
    warp_begin(w);
    if (r->m->check)
        check_warp_begin(r->m->check, w);
    if (r->m->domain && r->m->domain->warp_begin)
        r->m->domain->warp_begin(r->m->domain->arg, w);
}

static void begin_cta(Run *r, SimCluster *k, uint32_t rank)
{
    SimMachine *m = r->m;
    SimCta *c = &k->ctas[rank];
    uint32_t in[3];
    unlinear(rank, r->cluster, in);
    *c = (SimCta){.machine = m, .cluster = k, .rank = rank, .n_threads = m->block_threads, .live_threads = m->block_threads,
                  .n_warps = m->block_warps, .shared_bytes = m->shared_bytes};
    for (int i = 0; i < 3; i++)
        c->id[i] = k->id[i] * r->cluster[i] + in[i];
    c->linear = c->id[0] + (uint64_t)m->launch->grid[0] * (c->id[1] + (uint64_t)m->launch->grid[1] * c->id[2]);
    c->shared = aligned_alloc(1024, (m->shared_bytes + 1024u + 1023u) / 1024 * 1024);
    if (!c->shared)
        exit(PAWL_EXIT_DEVICE);
    memset(c->shared, 0xcd, (m->shared_bytes + 1024u + 1023u) / 1024 * 1024);
    if (m->check) {
        c->shared_init = zeroed(m->shared_bytes / 64 + 2, 8);
        c->shared_cells = zeroed(m->shared_bytes / 4 + 1, sizeof(ShadowCell));
    }
    c->warps = zeroed(c->n_warps, sizeof *c->warps);
    for (uint32_t i = 0; i < c->n_warps; i++)
        begin_warp(r, c, i);
}

static void end_cta(Run *r, SimCta *c)
{
    async_cta_end(c);
    for (uint32_t i = 0; i < c->n_warps; i++) {
        SimWarp *w = &c->warps[i];
        if (r->m->domain && r->m->domain->warp_end)
            r->m->domain->warp_end(r->m->domain->arg, w);
        if (r->m->check)
            check_warp_end(r->m->check, w);
        warp_end(w);
        free(w->specials);
    }
    if (r->m->check)
        for (uint32_t i = 0; i < c->shared_bytes / 4 + 1; i++)
            free(c->shared_cells[i].split);
    barriers_free(c);
    free(c->shared);
    free(c->shared_init);
    free(c->shared_cells);
    free(c->warps);
}

static void begin_cluster(Run *r)
{
    SimCluster *k = zeroed(1, sizeof *k);
    k->machine = r->m;
    k->linear = r->todo.data[r->next++];
    k->n_ctas = r->cluster[0] * r->cluster[1] * r->cluster[2];
    k->live_threads = k->n_ctas * r->m->block_threads;
    unlinear(k->linear, r->grid, k->id);
    k->ctas = zeroed(k->n_ctas, sizeof *k->ctas);
    for (uint32_t i = 0; i < k->n_ctas; i++)
        begin_cta(r, k, i);
    r->resident[r->n_resident++] = k;
    machine_changed(r->m);
}

static void end_cluster(Run *r, uint32_t at)
{
    SimCluster *k = r->resident[at];
    for (uint32_t i = 0; i < k->n_ctas; i++)
        end_cta(r, &k->ctas[i]);
    free(k->barrier.waiting);
    free(k->ctas);
    free(k);
    r->resident[at] = r->resident[--r->n_resident];
    machine_changed(r->m);
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

static void list_clusters(Run *r)
{
    const SimLaunch *l = r->m->launch;
    uint64_t all = (uint64_t)r->grid[0] * r->grid[1] * r->grid[2];
    Map *seen = map_new(r->m->arena);
    for (uint64_t i = 0; !l->ctas && i < all && i < UINT32_MAX; i++)
        vec_push(r->m->arena, &r->todo, i);
    for (uint32_t i = 0; l->ctas && i < l->n_ctas; i++) {
        uint32_t id[3];
        unlinear(l->ctas[i], l->grid, id);
        uint64_t k = id[0] / r->cluster[0] + (uint64_t)r->grid[0] * (id[1] / r->cluster[1] + (uint64_t)r->grid[1] * (id[2] / r->cluster[2]));
        if (k < all && map_set(seen, k, 1))
            vec_push(r->m->arena, &r->todo, k);
    }
    uint64_t state = l->schedule;
    for (uint32_t i = r->todo.n; state && i > 1; i--) {
        uint32_t k = (uint32_t)(next_random(&state) % i);
        uint64_t t = r->todo.data[i - 1];
        r->todo.data[i - 1] = r->todo.data[k];
        r->todo.data[k] = t;
    }
}

/* ---- the turn of the warps ---- */

static uint64_t run_cta(SimCta *c)
{
    uint64_t steps = 0;
    SimMachine *m = c->machine;
    uint32_t start = 0;
    if (m->launch->schedule) {
        uint64_t s = (m->launch->schedule ^ (m->steps * UINT64_C(0x9e3779b97f4a7c15))) | 1;
        start = (uint32_t)(next_random(&s) % c->n_warps);
    }
    for (uint32_t k = 0; k < c->n_warps && !m->stop && m->steps < m->max_steps; k++) {
        SimWarp *w = &c->warps[(start + k) % c->n_warps];
        if (w->live)
            steps += warp_run(w, QUANTUM);
    }
    c->done = c->live_threads == 0;
    return steps;
}

static bool run_round(Run *r)
{
    uint64_t steps = 0;
    for (uint32_t i = 0; i < r->n_resident && !r->m->stop; i++) {
        SimCluster *k = r->resident[i];
        for (uint32_t c = 0; c < k->n_ctas; c++)
            if (!k->ctas[c].done)
                steps += run_cta(&k->ctas[c]);
        if (k->live_threads == 0 && !r->m->stop)
            end_cluster(r, i--);
    }
    return steps > 0;
}

static void too_many_steps(SimMachine *m)
{
    SimFault f = {.kind = FAULT_STEPS, .inst = m->inst, .count = 1,
                  .text = arena_printf(m->arena, "%llu warp instructions have run, which is the limit: a loop without an end?", (unsigned long long)m->steps)};
    fault_add(m, &f);
    m->stop = true;
}

static void run_all(Run *r)
{
    SimMachine *m = r->m;
    uint32_t rounds = 0;
    while (!m->stop && (r->n_resident || r->next < r->todo.n)) {
        if (!r->n_resident)
            begin_cluster(r);
        uint32_t before = r->n_resident;
        bool went = run_round(r);
        rounds = r->n_resident < before ? 0 : rounds + 1;
        if (m->stop)
            break;
        if (m->steps >= m->max_steps) {
            too_many_steps(m);
        } else if (!went && r->n_resident == before && !async_progress(m)) {
            if (r->next < r->todo.n && r->n_resident < MAX_RESIDENT) {
                begin_cluster(r);
            } else {
                report_stuck(m, r->resident, r->n_resident);
                m->stop = true;
            }
        } else if (rounds > PATIENCE && r->next < r->todo.n && r->n_resident < MAX_RESIDENT) {
            begin_cluster(r);
            rounds = 0;
        }
    }
    m->result->finished = !m->stop;
    while (r->n_resident)
        end_cluster(r, r->n_resident - 1);
}

static bool prepare(Run *r, Diags *d)
{
    SimMachine *m = r->m;
    const SimLaunch *l = m->launch;
    for (int i = 0; i < 3; i++)
        r->cluster[i] = l->cluster[i] ? l->cluster[i] : m->entry->req_cluster[i] ? m->entry->req_cluster[i] : 1;
    if (!check_shape(m->entry, l, r->cluster, d) || !lay_out_shared(m, d) || !take_args(m, d))
        return false;
    for (int i = 0; i < 3; i++)
        r->grid[i] = l->grid[i] / r->cluster[i];
    m->block_threads = l->block[0] * l->block[1] * l->block[2];
    m->block_warps = (m->block_threads + LANES - 1) / LANES;
    m->max_steps = l->max_steps ? l->max_steps : UINT64_C(1) << 40;
    m->globals = memory_bind(m->memory, m->module);
    make_constants(m);
    list_clusters(r);
    if (!l->no_check)
        m->check = check_new(m);
    return true;
}

bool sim_run(SimMemory *memory, const PtxModule *module, const SimLaunch *launch, Arena *a, Diags *d, SimResult *out)
{
    double start = clock_seconds();
    *out = (SimResult){.n_counts = module->code.n};
    SimMachine m = {.arena = arena_new(), .diags = d, .memory = memory, .module = module, .launch = launch, .result = out, .domain = launch->domain};
    m.entry = ptx_entry(module, launch->entry);
    Run *r = arena_new_of(m.arena, Run);
    r->m = &m;
    m.counts = arena_new_array(a, SimCount, module->code.n + 1);
    m.recent = (SimRegion **)arena_alloc(m.arena, sizeof *m.recent * (module->code.n + 1));
    m.fault_index = map_new(m.arena);
    bool good = m.entry ? prepare(r, d)
                        : diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, launch->entry ? "the module has no kernel %s" : "name one of the module's kernels",
                                     launch->entry);
    if (good) {
        run_all(r);
        out->counts = m.counts;
        out->warp_steps = m.steps;
        for (uint32_t i = 0; i < module->code.n; i++)
            out->thread_steps += m.counts[i].threads;
        out->shared_bytes = m.shared_bytes;
        fault_collect(&m, a);
    }
    if (m.check)
        check_free(m.check);
    out->seconds = clock_seconds() - start;
    arena_free(m.arena);
    return good;
}
