/* runtime/sim/check.c — happens-before between threads, and the marks that accesses leave. See check.h. */
#include "runtime/sim/async.h"
#include <stdlib.h>

typedef struct ReleaseCell { CtaKnown *list; uint32_t version; } ReleaseCell;

struct Checker {
    SimMachine *m;
    uint32_t n;                          /* threads a CTA */
    uint32_t base;                       /* marks of CTAs up to this number are of older launches */
    SyncClock *free, *zero;
    Map *released;                       /* generic address → ReleaseCell; shared memory with the CTA's number mixed in */
};

/* ---- vectors ---- */

static SyncClock *clock_new(Checker *c)
{
    SyncClock *k = c->free;
    if (k)
        c->free = k->next;
    else
        k = malloc(sizeof *k + sizeof *k->of * c->n);
    if (!k)
        exit(PAWL_EXIT_DEVICE);
    memset(k, 0, sizeof *k + sizeof *k->of * c->n);
    k->refs = 1;
    return k;
}

static void known_drop(Checker *c, CtaKnown *k);

static void clock_drop(Checker *c, SyncClock *k)
{
    if (!k || --k->refs)
        return;
    known_drop(c, k->others);
    k->next = c->free;
    c->free = k;
}

static void known_drop(Checker *c, CtaKnown *k)
{
    if (!k || --k->refs)
        return;
    for (uint32_t i = 0; i < k->n; i++)
        clock_drop(c, k->at[i].clock);
    free(k);
}

static CtaKnown *known_new(uint32_t room)
{
    CtaKnown *k = malloc(sizeof *k + sizeof *k->at * room);
    if (!k)
        exit(PAWL_EXIT_DEVICE);
    *k = (CtaKnown){.refs = 1};
    return k;
}

static void known_put(CtaKnown *k, uint32_t cta, SyncClock *clock)
{
    clock->refs++;
    k->at[k->n].cta = cta;
    k->at[k->n++].clock = clock;
}

/* The one of two vectors that has all of the other, or a new one. */
static SyncClock *later(Checker *c, SyncClock *a, SyncClock *b)
{
    bool a_has = true, b_has = true;
    for (uint32_t i = 0; i < c->n; i++) {
        a_has &= a->of[i] >= b->of[i];
        b_has &= b->of[i] >= a->of[i];
    }
    SyncClock *k = a_has ? a : b_has ? b : clock_new(c);
    if (a_has || b_has) {
        k->refs++;
        return k;
    }
    for (uint32_t i = 0; i < c->n; i++)
        k->of[i] = a->of[i] > b->of[i] ? a->of[i] : b->of[i];
    return k;
}

/* Adds what `from` holds to *to. */
static void known_join(Checker *c, CtaKnown **to, CtaKnown *from)
{
    CtaKnown *a = *to, *b = from;
    if (!b || a == b)
        return;
    if (!a) {
        b->refs++;
        *to = b;
        return;
    }
    CtaKnown *k = known_new(a->n + b->n);
    for (uint32_t i = 0, j = 0; i < a->n || j < b->n; ) {
        if (j == b->n || (i < a->n && a->at[i].cta < b->at[j].cta)) {
            known_put(k, a->at[i].cta, a->at[i].clock);
            i++;
        } else if (i == a->n || b->at[j].cta < a->at[i].cta) {
            known_put(k, b->at[j].cta, b->at[j].clock);
            j++;
        } else {
            SyncClock *both = a->at[i].clock == b->at[j].clock ? NULL : later(c, a->at[i].clock, b->at[j].clock);
            known_put(k, a->at[i].cta, both ? both : a->at[i].clock);
            clock_drop(c, both);
            i++;
            j++;
        }
    }
    known_drop(c, a);
    *to = k;
}

static void known_add(Checker *c, CtaKnown **to, uint32_t cta, SyncClock *clock)
{
    CtaKnown *one = known_new(1);
    known_put(one, cta, clock);
    known_join(c, to, one);
    known_drop(c, one);
}

static const SyncClock *known_find(const CtaKnown *k, uint32_t cta)
{
    uint32_t lo = 0, hi = k ? k->n : 0;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (k->at[mid].cta < cta)
            lo = mid + 1;
        else
            hi = mid;
    }
    return k && lo < k->n && k->at[lo].cta == cta ? k->at[lo].clock : NULL;
}

static void clock_join(Checker *c, SyncClock *to, const SyncClock *from)
{
    if (to == from)
        return;
    for (uint32_t i = 0; i < c->n; i++)
        to->of[i] = to->of[i] > from->of[i] ? to->of[i] : from->of[i];
    if (from->others && from->others != to->others)
        known_join(c, &to->others, from->others);
}

static SyncClock *clock_copy(Checker *c, const SyncClock *from)
{
    SyncClock *k = clock_new(c);
    memcpy(k->of, from->of, sizeof *k->of * c->n);
    k->others = from->others;
    if (k->others)
        k->others->refs++;
    k->seen = from->seen;
    k->seen_version = from->seen_version;
    return k;
}

static void set_clock(Checker *c, SimWarp *w, uint32_t lane, SyncClock *k)
{
    k->refs++;
    clock_drop(c, w->clock[lane]);
    w->clock[lane] = k;
}

/* ---- begin, end ---- */

Checker *check_new(SimMachine *m)
{
    Checker *c = arena_new_of(m->arena, Checker);
    *c = (Checker){.m = m, .n = m->block_threads, .base = m->memory->next_cta, .released = map_new(m->arena)};
    const uint32_t *g = m->launch->grid;
    m->memory->next_cta += g[0] * g[1] * g[2];
    c->zero = clock_new(c);
    return c;
}

void check_free(Checker *c)
{
    uint64_t key, value;
    for (uint32_t i = 0; map_entry(c->released, i, &key, &value); i++)
        known_drop(c, ((ReleaseCell *)(uintptr_t)value)->list);
    clock_drop(c, c->zero);
    while (c->free) {
        SyncClock *k = c->free;
        c->free = k->next;
        free(k);
    }
}

void check_warp_begin(Checker *c, SimWarp *w)
{
    for (uint32_t l = 0; l < LANES; l++) {
        w->clock[l] = c->zero;
        c->zero->refs++;
        w->own_clock[l] = 1;
    }
}

void check_warp_end(Checker *c, SimWarp *w)
{
    for (uint32_t l = 0; l < LANES; l++) {
        clock_drop(c, w->clock[l]);
        clock_drop(c, w->proxy_known[l]);
    }
}

/* ---- synchronisation ---- */

static void add_lanes(Checker *c, SimWarp *w, uint32_t mask, SyncClock *sum)
{
    const SyncClock *last = NULL;
    for_lanes(l, mask) {
        if (w->clock[l] != last)
            clock_join(c, sum, w->clock[l]);
        last = w->clock[l];
    }
    for_lanes(l, mask)
        sum->of[thread_of(w, l)] = w->own_clock[l]++;
    sum->dirty |= (w->dirty & mask) != 0;
}

static uint32_t cta_mark(const Checker *c, const SimWarp *w) { return c->base + (uint32_t)w->cta->linear + 1; }

/* A vector of what the lane knows, itself included, of its own CTA; what it knows of others joins *others. */
static SyncClock *snapshot(Checker *c, SimWarp *w, uint32_t lane, CtaKnown **others)
{
    SyncClock *k = clock_copy(c, w->clock[lane]);
    k->of[thread_of(w, lane)] = w->own_clock[lane]++;
    known_join(c, others, k->others);
    known_drop(c, k->others);
    k->others = NULL;
    return k;
}

static void tell(Checker *c, SimWarp *w, uint32_t lane, CtaKnown **list)
{
    SyncClock *k = snapshot(c, w, lane, list);
    known_add(c, list, cta_mark(c, w), k);
    clock_drop(c, k);
}

/* Of another CTA's threads: what they know goes into the list, by CTA. */
static void arrive_from_afar(Checker *c, SimWarp *w, uint32_t mask, SyncClock *sum)
{
    for_lanes(l, mask)
        tell(c, w, l, &sum->others);
    sum->dirty |= (w->dirty & mask) != 0;
}

void check_arrive(Checker *c, SimWarp *w, uint32_t mask, SyncClock **sum)
{
    if (!*sum) {
        *sum = clock_new(c);
        (*sum)->cta = cta_mark(c, w);
    }
    if ((*sum)->cta == cta_mark(c, w))
        add_lanes(c, w, mask, *sum);
    else
        arrive_from_afar(c, w, mask, *sum);
}

static void learn_own(const Checker *c, SyncClock *k, const SyncClock *from)
{
    for (uint32_t i = 0; from && i < c->n; i++)
        k->of[i] = k->of[i] > from->of[i] ? k->of[i] : from->of[i];
}

/* A barrier that threads of other CTAs arrived at. */
static void leave_far(Checker *c, SimWarp *w, uint32_t lane, const SyncClock *sum)
{
    SyncClock *k = clock_copy(c, w->clock[lane]);
    uint32_t cta = cta_mark(c, w);
    learn_own(c, k, known_find(sum->others, cta));
    if (sum->cta == cta) {
        learn_own(c, k, sum);
    } else {
        SyncClock *copy = clock_copy(c, sum);
        known_drop(c, copy->others);
        copy->others = NULL;
        known_add(c, &k->others, sum->cta, copy);
        clock_drop(c, copy);
    }
    known_join(c, &k->others, sum->others);
    set_clock(c, w, lane, k);
    clock_drop(c, k);
}

void check_leave(Checker *c, SimWarp *w, uint32_t mask, const SyncClock *sum)
{
    for_lanes(l, mask) {
        SyncClock *k = (SyncClock *)(uintptr_t)sum;
        if (sum->cta != cta_mark(c, w) || sum->others)
            leave_far(c, w, l, sum);
        else if (sum->of[thread_of(w, l)] + 1 >= w->own_clock[l]) {
            set_clock(c, w, l, k);
        } else {
            k = clock_copy(c, w->clock[l]);
            clock_join(c, k, sum);
            set_clock(c, w, l, k);
            clock_drop(c, k);
        }
    }
    if (sum->dirty)
        w->dirty |= mask;
}

void check_forget(Checker *c, SyncClock **sum)
{
    clock_drop(c, *sum);
    *sum = NULL;
}

void check_warp_sync(Checker *c, SimWarp *w, uint32_t mask)
{
    SyncClock *k = clock_copy(c, w->clock[__builtin_ctz(mask)]);
    add_lanes(c, w, mask, k);
    for_lanes(l, mask)
        set_clock(c, w, l, k);
    if (k->dirty)
        w->dirty |= mask;
    k->dirty = false;
    clock_drop(c, k);
}

void check_fence(Checker *c, SimWarp *w, uint32_t mask)
{
    (void)c;
    w->dirty &= ~mask;
}

void check_proxy_fence(Checker *c, SimWarp *w, uint32_t mask)
{
    for_lanes(l, mask) {
        clock_drop(c, w->proxy_known[l]);
        w->proxy_known[l] = w->clock[l];
        w->proxy_known[l]->refs++;
        w->proxy_clock[l] = w->own_clock[l]++;                         /* what it writes from here on is not fenced */
    }
}

/* ---- release and acquire through memory ---- */

static ReleaseCell *release_cell(Checker *c, const SimWarp *w, uint64_t address, bool make)
{
    uint64_t key = address_space(address) == SPACE_SHARED ? hash_mix(w->cta->linear + 1, address) : address;
    ReleaseCell *r = (ReleaseCell *)(uintptr_t)map_get(c->released, key, 0);
    if (!r && make) {
        r = arena_new_of(c->m->arena, ReleaseCell);
        map_set(c->released, key, (uint64_t)(uintptr_t)r);
    }
    return r;
}

static void release_lane(Checker *c, SimWarp *w, uint32_t lane, ReleaseCell *r)
{
    tell(c, w, lane, &r->list);
    r->version++;
}

void check_release(Checker *c, SimWarp *w, uint32_t lane, uint64_t address)
{
    release_lane(c, w, lane, release_cell(c, w, address, true));
}

static void acquire_cell(Checker *c, SimWarp *w, uint32_t lane, const ReleaseCell *r)
{
    SyncClock *old = w->clock[lane];
    if (!r->list || (old->seen == r && old->seen_version == r->version))
        return;
    SyncClock *k = clock_copy(c, old);
    learn_own(c, k, known_find(r->list, cta_mark(c, w)));
    known_join(c, &k->others, r->list);
    k->seen = r;
    k->seen_version = r->version;
    set_clock(c, w, lane, k);
    clock_drop(c, k);
}

void check_acquire(Checker *c, SimWarp *w, uint32_t lane, uint64_t address)
{
    const ReleaseCell *r = release_cell(c, w, address, false);
    if (r)
        acquire_cell(c, w, lane, r);
}

/* The cluster's barrier is a cell of its own: an address in no window. */
static uint64_t cluster_key(const SimWarp *w) { return WINDOW_PARAM | w->cta->cluster->linear << 8; }

void check_cluster_arrive(Checker *c, SimWarp *w, uint32_t mask)
{
    for_lanes(l, mask)
        check_release(c, w, l, cluster_key(w));
}

void check_cluster_wait(Checker *c, SimWarp *w, uint32_t mask)
{
    for_lanes(l, mask)
        check_acquire(c, w, l, cluster_key(w));
}

/* ---- marks ---- */

typedef struct {                         /* an access being checked */
    Checker *c;
    SimWarp *w;
    const PtxInst *inst;
    SimRegion *region;                   /* NULL: shared memory */
    uint64_t at, address;
    ShadowMark mark;
    uint32_t lane;
} Access;

static bool ordered(const Access *a, const ShadowMark *m)
{
    if (m->cta <= a->c->base)
        return true;
    const SyncClock *k = a->w->clock[a->lane];
    if (m->cta == a->mark.cta)
        return m->thread == a->mark.thread || k->of[m->thread] >= m->clock;
    const SyncClock *far = known_find(k->others, m->cta);
    return far && far->of[m->thread] >= m->clock;
}

static void report(const Access *a, const ShadowMark *m, const char *earlier)
{
    SimMachine *x = a->c->m;
    uint32_t linear = m->cta - a->c->base - 1;
    const uint32_t *g = x->launch->grid, *b = x->launch->block;
    bool grid = m->cta != a->mark.cta;
    const PtxInst *other = &x->module->code.data[m->inst];
    char where[128];
    if (a->region)
        snprintf(where, sizeof where, "byte %llu of %s", (unsigned long long)a->at, a->region->buffer.name);
    else
        snprintf(where, sizeof where, "byte %llu of shared memory", (unsigned long long)a->at);
    sim_fault(a->w, grid ? FAULT_RACE_GRID : FAULT_RACE, a->lane, a->address, other, false,
              "%s %s and a %s by CTA (%u, %u, %u), thread (%u, %u, %u) are not ordered", a->mark.how & ACCESS_STORE ? "store to" : "load from", where,
              earlier, linear % g[0], linear / g[0] % g[1], linear / g[0] / g[1], m->thread % b[0], m->thread / b[0] % b[1],
              m->thread / b[0] / b[1]);
}

/* The async proxy is about to read what a thread of this CTA has written: was it fenced? */
static void check_fenced(const Access *a, const ShadowMark *m)
{
    if (m->cta != a->mark.cta || m->how & ACCESS_ASYNC)
        return;
    const SimWarp *by = &a->w->cta->warps[m->thread / LANES];
    const SyncClock *known = a->w->proxy_known[a->lane];
    if (by->proxy_clock[m->thread % LANES] >= m->clock || (known && known->of[m->thread] >= m->clock))
        return;
    sim_fault(a->w, FAULT_PROXY, a->lane, a->address, &a->c->m->module->code.data[m->inst], false,
              "byte %llu of shared memory is read asynchronously, and no fence.proxy.async stands between that and the store to it", (unsigned long long)a->at);
}

static bool both_strong(const ShadowMark *a, const ShadowMark *b) { return a->how & ACCESS_VOLATILE && b->how & ACCESS_VOLATILE; }

static void note_read(const Access *a, ShadowCell *cell)
{
    ShadowMark *r = cell->read;
    if (ordered(a, &r[0])) {
        r[0] = a->mark;
        if (ordered(a, &r[1]))
            r[1].cta = 0;
    } else if (ordered(a, &r[1]) || (r[0].cta == r[1].cta && r[0].thread / LANES == r[1].thread / LANES)) {
        r[1] = a->mark;
    }
}

static void check_cell(const Access *a, ShadowCell *cell)
{
    const ShadowMark *m = &a->mark;
    if (!ordered(a, &cell->write) && !both_strong(m, &cell->write))
        report(a, &cell->write, "store");
    if (!a->region && m->how & ACCESS_ASYNC && m->how & ACCESS_LOAD)
        check_fenced(a, &cell->write);
    if (m->how & ACCESS_STORE) {
        for (int i = 0; i < 2; i++)
            if (!ordered(a, &cell->read[i]) && !both_strong(m, &cell->read[i]))
                report(a, &cell->read[i], "load");
        cell->write = *m;
        cell->read[0].cta = cell->read[1].cta = 0;
    } else {
        note_read(a, cell);
    }
}

static ShadowCell *cell_at(SimRegion *r, SimCta *owner, uint64_t at)
{
    uint64_t n = at / 4;
    if (!r)
        return &owner->shared_cells[n];
    if (!r->shadow && !(r->shadow = calloc((r->bytes / 4 + SHADOW_PAGE) / SHADOW_PAGE + 1, sizeof *r->shadow)))
        exit(PAWL_EXIT_DEVICE);
    ShadowCell **page = &r->shadow[n / SHADOW_PAGE];
    if (!*page && !(*page = calloc(SHADOW_PAGE, sizeof **page)))
        exit(PAWL_EXIT_DEVICE);
    return *page + n % SHADOW_PAGE;
}

static void split_cell(ShadowCell *cell)
{
    ShadowCell *s = calloc(4, sizeof *s);
    if (!s)
        exit(PAWL_EXIT_DEVICE);
    for (int i = 0; i < 4; i++)
        s[i] = *cell;
    cell->split = s;
}

static void check_initialised(const Access *a, uint64_t *init, const SimCta *owner, uint32_t bytes, unsigned access)
{
    bool missing = false;
    for (uint64_t b = a->at; b < a->at + bytes; b++) {
        uint64_t bit = UINT64_C(1) << (b % 64);
        missing |= !(init[b / 64] & bit);
        if (access & ACCESS_STORE)
            init[b / 64] |= bit;
    }
    if (!missing || !(access & ACCESS_LOAD))
        return;
    if (owner && async_pending_at(owner, a->at, bytes))
        sim_fault(a->w, FAULT_ASYNC_UNWAITED, a->lane, a->address, NULL, false, "%u-byte load of byte %llu of shared memory, which a copy in flight will write",
                  bytes, (unsigned long long)a->at);
    else
        sim_fault(a->w, FAULT_UNINITIALISED, a->lane, a->address, NULL, false, "%u-byte load of byte %llu of %s, which nothing has written", bytes,
                  (unsigned long long)a->at, a->region ? a->region->buffer.name : "shared memory");
}

void check_access(Checker *c, SimWarp *w, const PtxInst *inst, uint32_t lane, SimRegion *r, SimCta *owner, uint64_t at, uint64_t address,
                  uint32_t bytes, unsigned access)
{
    Access a = {c, w, inst, r, at, address, {0}, lane};
    uint64_t *init = r ? r->init : owner->shared_init;
    if (init)
        check_initialised(&a, init, r ? NULL : owner, bytes, access);
    if (r && r->read_only)
        return;
    if (!r && access & ACCESS_STORE && bulk_reads_at(owner, at, bytes))
        sim_fault(w, FAULT_ASYNC_UNWAITED, lane, address, NULL, false,
                  "store to byte %llu of shared memory, which a copy still reads: no cp.async.bulk.wait_group has waited for it", (unsigned long long)at);
    if (access & ACCESS_VOLATILE && access & ACCESS_LOAD)
        check_acquire(c, w, lane, address);
    a.mark = (ShadowMark){cta_mark(c, w), w->own_clock[lane], (uint32_t)(inst - c->m->module->code.data),
                          (uint16_t)thread_of(w, lane), 0, (uint8_t)(access & 31)};
    for (uint64_t b = at, end = at + bytes; b < end; ) {
        ShadowCell *cell = cell_at(r, owner, b);
        bool whole = b % 4 == 0 && b + 4 <= end;
        if (!whole && !cell->split)
            split_cell(cell);
        if (cell->split) {
            check_cell(&a, &cell->split[b % 4]);
            b++;
        } else {
            check_cell(&a, cell);
            b += 4;
        }
    }
    if (access & ACCESS_STORE) {
        if (!(access & ACCESS_VOLATILE))
            w->dirty |= (uint32_t)(r != NULL) << lane;                 /* what only the CTA sees needs no fence */
        else if (access & ACCESS_RELEASE || !(w->dirty >> lane & 1) || !r)
            check_release(c, w, lane, address);
    }
}

void check_local(SimWarp *w, const PtxInst *inst, uint32_t lane, uint64_t at, uint32_t bytes, unsigned access)
{
    uint64_t *init = w->local_init + lane * (w->local_bytes / 64 + 1);
    bool missing = false;
    (void)inst;
    for (uint64_t b = at; b < at + bytes; b++) {
        missing |= !(init[b / 64] >> (b % 64) & 1);
        if (access & ACCESS_STORE)
            init[b / 64] |= UINT64_C(1) << (b % 64);
    }
    if (missing && access & ACCESS_LOAD)
        sim_fault(w, FAULT_UNINITIALISED, lane, WINDOW_LOCAL | at, NULL, false, "%u-byte load of byte %llu of the thread's local memory, which it has not written",
                  bytes, (unsigned long long)at);
}
