/* runtime/sim/async_barrier.c — mbarrier: arrivals and bytes of a phase, waits by state or parity.
 *
 * A state is {phase, pending arrivals before the arrival}. The object's own 8 bytes in shared memory hold nothing but its being
 * initialised; accesses to them are checked as atomics. (PTX ISA, "Parallel Synchronization and Communication: mbarrier".) */
#include "runtime/sim/async.h"
#include "runtime/sim/select.h"
#include <stdlib.h>

enum { TEST_PATIENCE = 64 /* test_waits in vain before something in flight takes effect */ };

static SimCta *cta_of(SimWarp *w, uint64_t address)
{
    uint32_t rank = (uint32_t)(address >> 24 & 0xff);
    return rank && rank <= w->cta->cluster->n_ctas ? &w->cta->cluster->ctas[rank - 1] : w->cta;
}

static AsyncBarrier *find(SimWarp *w, uint64_t address)
{
    SimCta *c = cta_of(w, address);
    return c->mbarriers ? (AsyncBarrier *)(uintptr_t)map_get(c->mbarriers, address & 0xffffff, 0) : NULL;
}

AsyncBarrier *async_barrier_at(SimWarp *w, uint32_t lane, uint64_t address)
{
    AsyncBarrier *b = find(w, address);
    if (!b)
        sim_fault(w, FAULT_BAD_CALL, lane, address, NULL, true, "no mbarrier has been initialised at shared address 0x%llx", (unsigned long long)address);
    return b;
}

void async_barriers_free(SimCta *c)
{
    uint64_t key, value;
    for (uint32_t i = 0; c->mbarriers && map_entry(c->mbarriers, i, &key, &value); i++) {
        AsyncBarrier *b = (AsyncBarrier *)(uintptr_t)value;
        if (c->machine->check) {
            check_forget(c->machine->check, &b->sum);
            check_forget(c->machine->check, &b->result);
        }
        free(b);
    }
    c->mbarriers = NULL;
}

static void maybe_complete(SimMachine *m, AsyncBarrier *b)
{
    if (b->pending || b->tx)
        return;
    b->phase++;
    b->pending = b->expected;
    if (m->check) {
        check_forget(m->check, &b->result);
        b->result = b->sum;
        b->sum = NULL;
    }
    machine_changed(m);
}

void async_barrier_arrive(SimWarp *w, uint32_t lane, AsyncBarrier *b, uint32_t count, int64_t bytes)
{
    SimMachine *m = w->machine;
    if (count > b->pending) {
        sim_fault(w, FAULT_BAD_CALL, lane, 0, NULL, true, "%u arrivals at an mbarrier whose phase waits for %u more", count, b->pending);
        return;
    }
    if (m->check && w->cta == b->owner)
        check_arrive(m->check, w, 1u << lane, &b->sum);
    else if (m->check)
        check_release(m->check, w, lane, b->key);
    b->remote |= w->cta != b->owner;
    b->pending -= count;
    b->tx -= bytes;
    b->misses = 0;
    maybe_complete(m, b);
}

/* ---- instructions ---- */

/* Operands: results before the address, the rest behind it. */
static uint32_t address_operand(const PtxInst *inst)
{
    for (uint32_t i = 0; i < inst->n_operands; i++)
        if (inst->operand[i].kind == OPERAND_MEMORY)
            return i;
    return 0;
}

static uint64_t value_of(const SimWarp *w, const PtxInst *inst, uint32_t operand, uint32_t lane, uint64_t otherwise)
{
    if (operand >= inst->n_operands || inst->operand[operand].kind != OPERAND_SLOT)
        return otherwise;
    return slot_get(w, inst->operand[operand].slot, lane);
}

static AsyncBarrier *reach(SimWarp *w, const PtxInst *inst, uint32_t lane, uint64_t address)
{
    if (!lane_access(w, inst, lane, SPACE_SHARED, async_shared(address), 8, 8, ACCESS_LOAD | ACCESS_ATOMIC))
        return NULL;
    return async_barrier_at(w, lane, async_shared(address));
}

static SimFlow exec_init(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint64_t at[LANES];
    operand_addresses(w, inst, &inst->operand[0], mask, at);
    for_lanes(l, mask) {
        uint64_t a = async_shared(at[l]), count = value_of(w, inst, 1, l, 1);
        uint8_t *p = lane_access(w, inst, l, SPACE_SHARED, a, 8, 8, ACCESS_STORE);
        if (!p)
            continue;
        memset(p, 0, 8);
        if (count == 0 || count >= 1u << 20)
            return sim_fault(w, FAULT_BAD_CALL, l, a, NULL, true, "an mbarrier for %llu arrivals: 1 to 1048575 are possible", (unsigned long long)count);
        SimCta *c = cta_of(w, a);
        AsyncBarrier *b = find(w, a);
        if (!c->mbarriers)
            c->mbarriers = map_new(w->machine->arena);
        if (!b) {
            b = calloc(1, sizeof *b);
            if (!b)
                exit(PAWL_EXIT_DEVICE);
            map_set(c->mbarriers, a & 0xffffff, (uint64_t)(uintptr_t)b);
        }
        struct SyncClock *sum = b->sum, *result = b->result;
        *b = (AsyncBarrier){.expected = (uint32_t)count, .pending = (uint32_t)count, .owner = c,
                            .key = UINT64_C(1) << 63 | c->linear << 24 | (a & 0xffffff)};
        if (w->machine->check) {
            check_forget(w->machine->check, &sum);
            check_forget(w->machine->check, &result);
        }
    }
    return FLOW_NEXT;
}

static SimFlow exec_inval(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint64_t at[LANES];
    operand_addresses(w, inst, &inst->operand[0], mask, at);
    for_lanes(l, mask) {
        uint64_t a = async_shared(at[l]);
        AsyncBarrier *b = lane_access(w, inst, l, SPACE_SHARED, a, 8, 8, ACCESS_STORE) ? async_barrier_at(w, l, a) : NULL;
        if (!b)
            continue;
        if (w->machine->check) {
            check_forget(w->machine->check, &b->sum);
            check_forget(w->machine->check, &b->result);
        }
        map_remove(cta_of(w, a)->mbarriers, a & 0xffffff);
        free(b);
    }
    return FLOW_NEXT;
}

static uint64_t state_of(const AsyncBarrier *b) { return (uint64_t)b->phase << 32 | b->pending; }

static SimFlow exec_arrive(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint64_t at[LANES];
    uint32_t o = address_operand(inst);
    bool expect = inst_has(inst, PM_EXPECT_TX), drop = inst_has(inst, PM_ARRIVE_DROP);
    operand_addresses(w, inst, &inst->operand[o], mask, at);
    for_lanes(l, mask) {
        uint64_t n = value_of(w, inst, o + 1, l, 1);
        AsyncBarrier *b = reach(w, inst, l, at[l]);
        if (!b)
            continue;
        uint64_t state = state_of(b);
        if (inst_has(inst, PM_NOCOMPLETE) && n >= b->pending)
            return sim_fault(w, FAULT_BAD_CALL, l, at[l], NULL, true, "arrive.noComplete with %llu of %u arrivals completes the phase", (unsigned long long)n,
                             b->pending);
        if (drop)
            b->expected -= expect ? 1 : (uint32_t)n;
        async_barrier_arrive(w, l, b, expect ? 1 : (uint32_t)n, expect ? -(int64_t)n : 0);
        if (o > 0 && inst->operand[0].kind == OPERAND_SLOT)
            slot_set(w, inst->operand[0].slot, l, state);
    }
    return w->machine->stop ? FLOW_STOP : FLOW_YIELD;
}

static SimFlow exec_transaction(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint64_t at[LANES];
    uint32_t o = address_operand(inst);
    operand_addresses(w, inst, &inst->operand[o], mask, at);
    for_lanes(l, mask) {
        int64_t n = (int64_t)value_of(w, inst, o + 1, l, 0);
        AsyncBarrier *b = reach(w, inst, l, at[l]);
        if (!b)
            continue;
        if (inst_has(inst, PM_EXPECT_TX))
            b->tx += n;
        else
            async_barrier_arrive(w, l, b, 0, n);
    }
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

static bool completed(const PtxInst *inst, const AsyncBarrier *b, uint64_t operand)
{
    return inst_has(inst, PM_PARITY) ? (b->phase & 1) != (operand & 1) : b->phase != (uint32_t)(operand >> 32);
}

/* The lane knows what those knew who arrived. Its clock ticks, so that it forgets nothing over it. */
static void learn(SimWarp *w, uint32_t lane, const AsyncBarrier *b)
{
    w->own_clock[lane]++;
    if (b->result)
        check_leave(w->machine->check, w, 1u << lane, b->result);
    if (b->remote)
        check_acquire(w->machine->check, w, lane, b->key);
}

/* try_wait may wait, and does while no lane has anything to go on with; test_wait answers at once. */
static SimFlow exec_wait(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    SimMachine *m = w->machine;
    uint64_t at[LANES];
    uint32_t o = address_operand(inst), done = 0;
    AsyncBarrier *of[LANES] = {NULL};
    operand_addresses(w, inst, &inst->operand[o], mask, at);
    for_lanes(l, mask) {
        of[l] = reach(w, inst, l, at[l]);
        if (!of[l])
            return FLOW_STOP;
        if (completed(inst, of[l], value_of(w, inst, o + 1, l, 0)))
            done |= 1u << l;
        else if (inst_has(inst, PM_TEST_WAIT) && ++of[l]->misses % (TEST_PATIENCE * LANES) == 0)
            bulk_progress(m);
    }
    if (!done && inst_has(inst, PM_TRY_WAIT))
        return FLOW_WAIT;
    for_lanes(l, m->check ? done : 0)
        learn(w, l, of[l]);
    if (o > 0 && inst->operand[0].kind == OPERAND_SLOT)
        slot_set_pred(w, inst->operand[0].slot, mask, done);
    return done == mask ? FLOW_NEXT : FLOW_YIELD;
}

static SimFlow exec_pending(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    for_lanes(l, mask)
        slot_set(w, inst->operand[0].slot, l, (uint32_t)slot_get(w, inst->operand[1].slot, l));
    return FLOW_NEXT;
}

bool select_mbarrier(Selector *s, PtxInst *inst)
{
    bool memory = inst->n_operands && inst->operand[address_operand(inst)].kind == OPERAND_MEMORY;
    if (inst_has(inst, PM_PENDING_COUNT))
        inst->exec = exec_pending;
    else if (!memory)
        return select_bad(s, inst, "it needs an address");
    else if (inst_has(inst, PM_INIT))
        inst->exec = exec_init;
    else if (inst_has(inst, PM_INVAL))
        inst->exec = exec_inval;
    else if (inst_has(inst, PM_ARRIVE) || inst_has(inst, PM_ARRIVE_DROP))
        inst->exec = exec_arrive;
    else if (inst_has(inst, PM_TEST_WAIT) || inst_has(inst, PM_TRY_WAIT))
        inst->exec = exec_wait;
    else if (inst_has(inst, PM_EXPECT_TX) || inst_has(inst, PM_COMPLETE_TX))
        inst->exec = exec_transaction;
    else
        return select_bad(s, inst, "it is not an operation on an mbarrier");
    return true;
}
