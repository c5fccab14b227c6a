/* runtime/sim/warp.c — one warp: which lanes run, calls and returns, the loop over instructions. */
#include "runtime/sim/check.h"
#include "runtime/sim/run.h"
#include <stdlib.h>

enum { SPIN_PATIENCE = 16, YIELD_COST = 64, MAX_CALLS = 1024, MAX_REGISTER_SLOTS = 1 << 20 };

uint64_t slot_get(const SimWarp *w, PtxSlot s, uint32_t lane)
{
    switch (s.bytes) {
    case 0:  return slot_pred(w, s) >> lane & 1;
    case 2:  return slot_u16(w, s)[lane];
    case 4:  return slot_u32(w, s)[lane];
    case 255: return 0;
    default: return slot_u64(w, s)[lane];
    }
}

void slot_set(SimWarp *w, PtxSlot s, uint32_t lane, uint64_t value)
{
    if (slot_is_sink(s))
        return;
    switch (s.bytes) {
    case 0:  slot_set_pred(w, s, 1u << lane, value ? UINT32_MAX : 0); break;
    case 2:  slot_u16(w, s)[lane] = (uint16_t)value; break;
    case 4:  slot_u32(w, s)[lane] = (uint32_t)value; break;
    default: slot_u64(w, s)[lane] = value; break;
    }
}

/* ---- groups ---- */

static bool same_place(const SimGroup *a, const SimGroup *b)
{
    return a->pc == b->pc && a->frame == b->frame && a->local == b->local && a->depth == b->depth;
}

static void drop_group(SimWarp *w, uint32_t i)
{
    w->group[i] = w->group[--w->n_groups];
}

/* Lanes that have come to the same place become one group. */
static void merge_groups(SimWarp *w)
{
    for (uint32_t i = 0; i < w->n_groups; i++) {
        SimGroup *g = &w->group[i];
        for (uint32_t k = i + 1; k < w->n_groups; ) {
            if (!same_place(g, &w->group[k])) {
                k++;
                continue;
            }
            g->mask |= w->group[k].mask;
            g->waiting = false;
            g->spins = g->spins < w->group[k].spins ? g->spins : w->group[k].spins;
            drop_group(w, k);
        }
    }
}

static bool goes_first(const SimMachine *m, const SimGroup *a, const SimGroup *b)
{
    uint32_t sa = a->spins / SPIN_PATIENCE, sb = b->spins / SPIN_PATIENCE;
    if (sa != sb)
        return sa < sb;
    if (a->depth != b->depth)
        return a->depth > b->depth;
    uint32_t da = m->module->code.data[a->pc].depth, db = m->module->code.data[b->pc].depth;
    return da != db ? da > db : a->pc < b->pc;
}

static SimGroup *pick_group(SimWarp *w)
{
    SimGroup *best = NULL;
    if (w->n_groups > 1)
        merge_groups(w);
    for (uint32_t i = 0; i < w->n_groups; i++) {
        SimGroup *g = &w->group[i];
        if (g->waiting && g->since == w->machine->changes)
            continue;
        if (!best || goes_first(w->machine, g, best))
            best = g;
    }
    return best;
}

void warp_send(SimWarp *w, uint32_t mask, uint32_t pc)
{
    SimGroup *g = w->now;
    if (mask == g->mask) {
        g->pc = pc;
        return;
    }
    SimGroup *other = &w->group[w->n_groups++];
    *other = *g;
    other->mask = mask;
    other->pc = pc;
    other->waiting = false;
    g->mask &= ~mask;
    g->pc++;
}

void warp_exit(SimWarp *w, uint32_t mask)
{
    SimGroup *g = w->now;
    async_thread_exit(w, mask);
    w->live &= ~mask;
    w->cta->live_threads -= (uint32_t)__builtin_popcount(mask);
    w->cta->cluster->live_threads -= (uint32_t)__builtin_popcount(mask);
    g->mask &= ~mask;
    g->pc++;
    if (!g->mask)
        drop_group(w, (uint32_t)(g - w->group));
    barriers_after_exit(w->cta);
    machine_changed(w->machine);
}

uint32_t warp_lanes_at(const SimWarp *w, uint32_t pc)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < w->n_groups; i++)
        if (w->group[i].pc == pc && w->group[i].frame == w->now->frame && w->group[i].depth == w->now->depth)
            mask |= w->group[i].mask;
    return mask;
}

bool warp_gather(SimWarp *w, uint32_t want, uint32_t *mask)
{
    (void)mask;
    return (want & w->live & ~w->now->mask) == 0;
}

/* ---- calls ---- */

static void grow_registers(SimWarp *w, uint32_t slots)
{
    if (slots <= w->n_regs)
        return;
    uint32_t want = w->n_regs ? w->n_regs : 16;
    while (want < slots)
        want *= 2;
    size_t bytes = (size_t)want * SLOT_WORDS * 4;
    uint32_t *p = aligned_alloc(64, bytes);
    if (!p) {
        fputs("pawl: out of memory\n", stderr);
        exit(PAWL_EXIT_DEVICE);
    }
    memset(p, 0, bytes);
    if (w->regs)
        memcpy(p, w->regs, (size_t)w->n_regs * SLOT_WORDS * 4);
    free(w->regs);
    w->regs = p;
    w->n_regs = want;
}

static void grow_local(SimWarp *w, uint64_t bytes)
{
    if (bytes <= w->local_bytes)
        return;
    uint64_t want = (bytes + 63) / 64 * 64, bits = want / 64 + 1, old_bits = w->local_bytes / 64 + 1;
    uint8_t *p = calloc(LANES, want);
    uint64_t *init = calloc(LANES, bits * 8);
    if (!p || !init) {
        fputs("pawl: out of memory\n", stderr);
        exit(PAWL_EXIT_DEVICE);
    }
    for (uint32_t l = 0; w->local && l < LANES; l++) {
        memcpy(p + l * want, w->local + l * w->local_bytes, w->local_bytes);
        memcpy(init + l * bits, w->local_init + l * old_bits, old_bits * 8);
    }
    free(w->local);
    free(w->local_init);
    w->local = p;
    w->local_init = init;
    w->local_bytes = want;
}

void warp_call(SimWarp *w, const PtxInst *inst, uint32_t mask, const PtxFunction *f)
{
    (void)inst;
    uint32_t pc = w->now->pc;
    if (mask != w->now->mask) {
        uint32_t at = (uint32_t)(w->now - w->group);
        warp_send(w, w->now->mask & ~mask, pc + 1);
        w->now = &w->group[at];
        w->now->pc = pc;
    }
    SimGroup *g = w->now;
    const PtxFunction *caller = w->machine->module->functions.data[inst->function];
    if (g->depth >= MAX_CALLS || g->frame + caller->n_slots + f->n_slots > MAX_REGISTER_SLOTS) {
        sim_fault(w, FAULT_BAD_CALL, UINT32_MAX, 0, NULL, true, "calls are nested too deeply");
        return;
    }
    for_lanes(l, mask) {
        if (w->n_returns[l] == w->cap_returns[l]) {
            w->cap_returns[l] = w->cap_returns[l] ? w->cap_returns[l] * 2 : 8;
            w->returns[l] = realloc(w->returns[l], sizeof **w->returns * w->cap_returns[l]);
            if (!w->returns[l])
                exit(PAWL_EXIT_DEVICE);
        }
        w->returns[l][w->n_returns[l]++] = (SimReturn){pc + 1, g->frame, g->local};
    }
    g->depth++;
    g->frame += caller->n_slots;
    g->local += (caller->frame_bytes + 63) / 64 * 64;
    g->pc = f->first;
    grow_registers(w, g->frame + f->n_slots);
    grow_local(w, (uint64_t)g->local + f->frame_bytes);
}

void warp_return(SimWarp *w, uint32_t mask)
{
    SimGroup *g = w->now;
    if (g->depth == 0) {
        warp_exit(w, mask);
        return;
    }
    uint32_t rest = g->mask & ~mask, pc = g->pc, todo = mask;
    SimGroup from = *g;
    const PtxFunction *f = w->machine->module->functions.data[w->machine->module->code.data[pc].function];
    drop_group(w, (uint32_t)(g - w->group));
    while (todo) {
        uint32_t lane = (uint32_t)__builtin_ctz(todo), same = 0;
        SimReturn r = w->returns[lane][w->n_returns[lane] - 1];
        for_lanes(l, todo) {
            const SimReturn *x = &w->returns[l][w->n_returns[l] - 1];
            if (x->pc == r.pc && x->frame == r.frame && x->local == r.local) {
                same |= 1u << l;
                w->n_returns[l]--;
            }
        }
        todo &= ~same;
        w->base[SLOT_FRAME] = w->regs + (size_t)r.frame * SLOT_WORDS;
        call_results(w, same, r.pc, f, r.local, from.local);
        w->group[w->n_groups++] = (SimGroup){.mask = same, .pc = r.pc, .frame = r.frame, .local = r.local, .depth = from.depth - 1};
    }
    if (rest) {
        from.mask = rest;
        from.pc = pc + 1;
        w->group[w->n_groups++] = from;
    }
    w->now = &w->group[w->n_groups - 1];
}

/* ---- begin, end ---- */

void warp_begin(SimWarp *w)
{
    const PtxFunction *f = w->machine->entry;
    grow_registers(w, f->n_slots ? f->n_slots : 1);
    grow_local(w, f->frame_bytes);
    w->group[0] = (SimGroup){.mask = w->lanes, .pc = f->first};
    w->n_groups = 1;
    w->now = &w->group[0];
    w->live = w->lanes;
    w->base[SLOT_CONST] = w->machine->constants;
    w->base[SLOT_WARP] = w->specials;
    w->base[SLOT_FRAME] = w->regs;
}

void warp_end(SimWarp *w)
{
    free(w->regs);
    free(w->local);
    free(w->local_init);
    for (uint32_t l = 0; l < LANES; l++)
        free(w->returns[l]);
    w->regs = NULL;
    w->local = NULL;
    w->local_init = NULL;
    w->done = true;
}

/* ---- the loop ---- */

SimFlow exec_step(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    const SimDomain *d = w->machine->domain;
    return d ? d->step(d->arg, w, inst, mask) : inst->exec(w, inst, mask);
}

uint64_t warp_run(SimWarp *w, uint32_t budget)
{
    SimMachine *m = w->machine;
    const PtxInst *code = m->module->code.data;
    uint64_t steps = 0;
    SimGroup *g = pick_group(w);
    while (g && budget) {
        w->now = g;
        w->base[SLOT_FRAME] = w->regs + (size_t)g->frame * SLOT_WORDS;
        uint32_t pc = g->pc, mask = g->mask;
        const PtxInst *inst = &code[pc];
        if (inst->guarded) {
            uint32_t p = w->base[SLOT_FRAME][(size_t)inst->guard * SLOT_WORDS];
            mask &= inst->guard_negated ? ~p : p;
        }
        SimFlow flow = FLOW_NEXT;
        if (mask) {
            m->inst = inst;
            flow = exec_step(w, inst, mask);
        }
        if (flow == FLOW_WAIT) {
            if (mask != g->mask) {                                     /* lanes that skip the instruction go on */
                warp_send(w, g->mask & ~mask, pc + 1);
                g->pc = pc;
            }
            g->waiting = true;
            g->since = m->changes;
            g = pick_group(w);
            continue;
        }
        m->counts[pc].warps++;
        m->counts[pc].threads += (uint32_t)__builtin_popcount(mask);
        m->clock++;
        steps++;
        budget--;
        if (flow == FLOW_NEXT) {
            g->pc = pc + 1;
            g->waiting = false;
            if (w->n_groups > 1)
                g = pick_group(w);
            continue;
        }
        if (flow == FLOW_STOP) {
            m->stop = true;
            break;
        }
        if (flow == FLOW_YIELD) {
            g->pc = pc + 1;
            g->waiting = false;
            g->spins++;
            budget = budget > YIELD_COST ? budget - YIELD_COST : 0;
        }
        g = pick_group(w);
    }
    w->steps += steps;
    m->steps += steps;
    return steps;
}
