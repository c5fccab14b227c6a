/* runtime/sim/exec_sync.c — barriers of a CTA: named, with counts, aligned or not, with reductions. */
#include "runtime/sim/check.h"
#include "runtime/sim/exec.h"
#include "runtime/sim/run.h"
#include <stdlib.h>

enum { BAR_SYNC, BAR_ARRIVE, BAR_RED, BAR_KIND = 3, BAR_ALIGNED = 4, BAR_POPC = 8, BAR_AND = 16, BAR_OR = 32 };

static uint32_t expected_threads(const SimCta *c, const SimBarrier *b) { return b->expected ? b->expected : c->live_threads; }

/* Everybody has come: the next phase begins. */
static void complete(SimCta *c, SimBarrier *b)
{
    SimMachine *m = c->machine;
    if (m->check) {
        check_forget(m->check, &b->result);
        b->result = b->clock;
        b->clock = NULL;
    }
    b->result_any = b->reduce_any;
    b->result_all = b->reduce_all;
    b->result_count = b->reduce_count;
    b->reduce_any = b->reduce_count = 0;
    b->reduce_all = 1;
    b->arrived = b->expected = 0;
    b->phase++;
    m->result->barriers++;
    machine_changed(m);
}

void barriers_after_exit(SimCta *c)
{
    for (uint32_t i = 0; i < SIM_BARRIERS; i++) {
        SimBarrier *b = &c->barrier[i];
        if (b->arrived && !b->expected && b->arrived >= c->live_threads)
            complete(c, b);
    }
}

void barriers_free(SimCta *c)
{
    for (uint32_t i = 0; i < SIM_BARRIERS; i++) {
        if (c->machine->check) {
            check_forget(c->machine->check, &c->barrier[i].clock);
            check_forget(c->machine->check, &c->barrier[i].result);
        }
        free(c->barrier[i].waiting);
    }
}

static uint32_t *waiting_of(SimCta *c, SimBarrier *b)
{
    if (!b->waiting) {
        b->waiting = calloc(c->n_threads + LANES, sizeof *b->waiting);
        b->reduce_all = 1;
        if (!b->waiting)
            exit(PAWL_EXIT_DEVICE);
    }
    return b->waiting;
}

static bool join_barrier(SimWarp *w, const PtxInst *inst, SimBarrier *b, uint32_t mask, uint32_t count)
{
    SimCta *c = w->cta;
    if (b->arrived && b->expected != count) {
        sim_fault(w, FAULT_DIVERGENT, (uint32_t)__builtin_ctz(mask), 0, b->inst, true, "the barrier is used with %u threads here, with %u elsewhere",
                  count ? count : c->n_threads, b->expected ? b->expected : c->n_threads);
        return false;
    }
    if (!b->arrived)
        b->inst = inst;
    b->expected = count;
    b->arrived += (uint32_t)__builtin_popcount(mask);
    if (w->machine->check)
        check_arrive(w->machine->check, w, mask, &b->clock);
    if (b->arrived > expected_threads(c, b)) {
        sim_fault(w, FAULT_DIVERGENT, (uint32_t)__builtin_ctz(mask), 0, b->inst, true, "%u threads came to a barrier for %u", b->arrived,
                  expected_threads(c, b));
        return false;
    }
    if (b->arrived == expected_threads(c, b))
        complete(c, b);
    return true;
}

static void vote_at(SimBarrier *b, uint32_t mask, uint32_t p)
{
    b->reduce_any |= (p & mask) != 0;
    b->reduce_all &= (p & mask) == mask;
    b->reduce_count += (uint32_t)__builtin_popcount(p & mask);
}

static void give_vote(SimWarp *w, const PtxInst *inst, const SimBarrier *b, uint32_t mask)
{
    if (inst->variant & BAR_POPC)
        for_lanes(l, mask)
            slot_set(w, inst->operand[0].slot, l, b->result_count);
    else
        slot_set_pred(w, inst->operand[0].slot, mask, (inst->variant & BAR_AND ? b->result_all : b->result_any) ? UINT32_MAX : 0);
}

static bool barrier_operands(SimWarp *w, const PtxInst *inst, uint32_t mask, uint32_t *id, uint32_t *count)
{
    uint32_t first = (inst->variant & BAR_KIND) == BAR_RED ? 1 : 0, n = inst->n_operands - first - (first ? 1 : 0);
    uint32_t lane = (uint32_t)__builtin_ctz(mask);
    *id = (uint32_t)slot_get(w, inst->operand[first].slot, lane);
    *count = n > 1 ? (uint32_t)slot_get(w, inst->operand[first + 1].slot, lane) : 0;
    if (*id >= SIM_BARRIERS || *count > SIM_MAX_THREADS || *count % LANES) {
        sim_fault(w, FAULT_BAD_CALL, lane, 0, NULL, true, "barrier %u with %u threads: numbers are below 16, counts multiples of 32", *id, *count);
        return false;
    }
    return true;
}

EXEC(exec_bar)
{
    uint32_t id, count, kind = inst->variant & BAR_KIND;
    if (!barrier_operands(w, inst, mask, &id, &count))
        return FLOW_STOP;
    SimBarrier *b = &w->cta->barrier[id];
    uint32_t *waiting = waiting_of(w->cta, b) + w->first_thread, fresh = 0, done = 0;
    for_lanes(l, mask)
        fresh |= (uint32_t)(waiting[l] == 0) << l;
    if (fresh && inst->variant & BAR_ALIGNED) {
        if (!warp_gather(w, w->live, &mask))
            return FLOW_WAIT;
        if (fresh != w->live)
            return sim_fault(w, FAULT_DIVERGENT, (uint32_t)__builtin_ctz(fresh), 0, NULL, true, "%u of the warp's threads come to the barrier, %u do not",
                             (unsigned)__builtin_popcount(fresh), (unsigned)__builtin_popcount(w->live & ~fresh));
    }
    if (fresh) {
        if (kind == BAR_RED)
            vote_at(b, fresh, slot_pred(w, inst->operand[inst->n_operands - 1].slot));
        if (kind != BAR_ARRIVE)
            for_lanes(l, fresh)
                waiting[l] = b->phase + 1;
        if (!join_barrier(w, inst, b, fresh, count))
            return FLOW_STOP;
    }
    if (kind == BAR_ARRIVE)
        return FLOW_NEXT;
    for_lanes(l, mask)
        done |= (uint32_t)(waiting[l] <= b->phase) << l;
    if (!done)
        return FLOW_WAIT;
    for_lanes(l, done)
        waiting[l] = 0;
    if (w->machine->check && b->result)
        check_leave(w->machine->check, w, done, b->result);
    if (kind == BAR_RED)
        give_vote(w, inst, b, done);
    uint32_t rest = mask & ~done, pc = w->now->pc;
    if (!rest)
        return FLOW_NEXT;
    warp_send(w, w->now->mask & ~rest, pc + 1);                        /* the rest came for the next phase */
    w->now->pc = pc;
    return FLOW_MOVED;
}

EXEC(exec_bar_warp)
{
    uint32_t want = 0;
    for_lanes(l, mask)
        want |= (uint32_t)slot_get(w, inst->operand[0].slot, l);
    if (!warp_gather(w, want, &mask))
        return FLOW_WAIT;
    if (w->machine->check)
        check_warp_sync(w->machine->check, w, mask);
    return FLOW_NEXT;
}

/* ---- clusters ---- */

static void complete_cluster(SimCluster *k)
{
    SimBarrier *b = &k->barrier;
    if (k->machine->check) {
        check_forget(k->machine->check, &b->result);
        b->result = b->clock;
        b->clock = NULL;
    }
    b->arrived = 0;
    b->phase++;
    k->machine->result->barriers++;
    machine_changed(k->machine);
}

EXEC(exec_bar_cluster)
{
    SimCluster *k = w->cta->cluster;
    SimBarrier *b = &k->barrier;
    uint32_t lane = (uint32_t)__builtin_ctz(mask), *waiting;
    if (!b->waiting && !(b->waiting = calloc((size_t)k->n_ctas * SIM_MAX_THREADS, sizeof *b->waiting)))
        exit(PAWL_EXIT_DEVICE);
    waiting = b->waiting + (size_t)w->cta->rank * SIM_MAX_THREADS + w->first_thread;
    if (inst_has(inst, PM_ARRIVE)) {
        if (inst->variant & BAR_ALIGNED && !warp_gather(w, w->live, &mask))
            return FLOW_WAIT;
        for_lanes(l, mask) {
            if (waiting[l])
                return sim_fault(w, FAULT_DIVERGENT, l, 0, NULL, true, "the thread arrives twice at the cluster's barrier without waiting");
            waiting[l] = b->phase + 1;
        }
        if (k->machine->check && !inst_has(inst, PM_RELAXED))
            check_cluster_arrive(k->machine->check, w, mask);
        b->arrived += (uint32_t)__builtin_popcount(mask);
        if (b->arrived >= k->live_threads)
            complete_cluster(k);
        return FLOW_NEXT;
    }
    for_lanes(l, mask) {
        if (!waiting[l])
            return sim_fault(w, FAULT_DIVERGENT, lane, 0, NULL, true, "the thread waits at the cluster's barrier without having arrived");
        if (waiting[l] > b->phase)
            return FLOW_WAIT;
    }
    for_lanes(l, mask)
        waiting[l] = 0;
    if (k->machine->check)
        check_cluster_wait(k->machine->check, w, mask);
    return FLOW_NEXT;
}

bool select_bar(Selector *s, PtxInst *inst)
{
    if (inst_has(inst, PM_WARP)) {
        inst->exec = exec_bar_warp;
        return (inst->n_operands == 1 && inst->operand[0].kind == OPERAND_SLOT && inst->operand[0].slot.bytes == 4) || select_bad(s, inst, "expected a mask");
    }
    bool aligned = inst->op == PO_BAR || inst_has(inst, PM_ALIGNED);
    inst->variant = (inst_has(inst, PM_RED) ? BAR_RED : inst_has(inst, PM_ARRIVE) ? BAR_ARRIVE : BAR_SYNC) | (aligned ? BAR_ALIGNED : 0) |
                    (inst_has(inst, PM_POPC) ? BAR_POPC : inst_has(inst, PM_AND) ? BAR_AND : BAR_OR);
    if (inst_has(inst, PM_SCOPE_CLUSTER)) {
        inst->exec = exec_bar_cluster;
        return inst->n_operands == 0 || select_bad(s, inst, "takes no operands");
    }
    inst->exec = exec_bar;
    uint32_t kind = inst->variant & BAR_KIND, least = kind == BAR_RED ? 3 : kind == BAR_ARRIVE ? 2 : 1;
    if (inst->n_operands < least || inst->n_operands > least + (kind == BAR_ARRIVE ? 0 : 1))
        return select_bad(s, inst, "takes another number of operands");
    for (uint32_t i = 0; i < inst->n_operands; i++) {
        bool predicate = kind == BAR_RED && (i + 1 == inst->n_operands || (i == 0 && !(inst->variant & BAR_POPC)));
        if (inst->operand[i].kind != OPERAND_SLOT || inst->operand[i].slot.bytes != (predicate ? 0 : 4))
            return select_bad(s, inst, "an operand has the wrong width");
    }
    return kind != BAR_RED || inst->operand[0].slot.base == SLOT_FRAME || select_bad(s, inst, "the result must be a register");
}
