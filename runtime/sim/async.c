/* runtime/sim/async.c — cp.async: copies of 4, 8 and 16 bytes a thread, groups, arrivals at mbarriers; the hooks of the run.
 *
 * Late, a thread's copy is made when the thread waits for its group. Until then its destination counts as not initialised, so that
 * a read that comes too early is found. */
#include "runtime/sim/async.h"
#include "runtime/sim/run.h"
#include "runtime/sim/select.h"
#include <stdlib.h>

typedef struct {
    uint32_t lane, bytes, source /* bytes that are read; zeros behind them */;
    const PtxInst *inst;
    uint64_t to, from, group /* 0: not committed */, number;
} Copy;

typedef struct SimCopies {
    Copy *of; uint32_t n, cap;
    uint64_t made /* copies begun by this warp */, commits[LANES];
} SimCopies;

static SimCopies *copies_of(SimWarp *w)
{
    if (!w->copies)
        w->copies = arena_new_of(w->machine->arena, SimCopies);
    return w->copies;
}

void async_undefine(SimWarp *w, uint64_t address, uint64_t bytes)
{
    uint32_t rank = (uint32_t)(address >> 24 & 0xff);
    SimCta *c = rank && rank <= w->cta->cluster->n_ctas ? &w->cta->cluster->ctas[rank - 1] : w->cta;
    uint64_t at = address & 0xffffff;
    for (uint64_t i = at; c->shared_init && i < at + bytes && i < c->shared_bytes; i++)
        c->shared_init[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static void run_copy(SimWarp *w, const Copy *c)
{
    SimMachine *m = w->machine;
    const PtxInst *running = m->inst;
    uint8_t data[16] = {0};
    m->inst = c->inst;
    const uint8_t *from = c->source ? lane_access(w, c->inst, c->lane, SPACE_GLOBAL, c->from, c->source, c->source == c->bytes ? c->bytes : 1,
                                                  ACCESS_LOAD | ACCESS_ASYNC) : data;
    uint8_t *to = from ? lane_access(w, c->inst, c->lane, SPACE_SHARED, c->to, c->bytes, c->bytes, ACCESS_STORE | ACCESS_ASYNC) : NULL;
    if (to) {
        memcpy(data, from, c->source);
        memcpy(to, data, c->bytes);
    }
    m->inst = running;
}

static bool due(const SimCopies *q, const Copy *c, uint32_t mask, uint64_t groups, uint64_t before)
{
    if (!(mask >> c->lane & 1))
        return false;
    return c->number < before || (c->group && c->group + groups <= q->commits[c->lane]);
}

/* Makes the copies of these lanes that are due: of all but the last `groups` groups, and those numbered below `before`. */
static void run_due(SimWarp *w, uint32_t mask, uint64_t groups, uint64_t before)
{
    SimCopies *q = copies_of(w);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < q->n; i++) {
        Copy c = q->of[i];
        if (due(q, &c, mask, groups, before))
            run_copy(w, &c);
        else
            q->of[kept++] = c;
    }
    q->n = kept;
}

void async_copies_run(SimWarp *w, uint32_t lane, uint64_t before) { run_due(w, 1u << lane, UINT64_MAX / 2, before); }

bool async_pending_at(const SimCta *c, uint64_t at, uint64_t bytes)
{
    for (uint32_t k = 0; k < c->n_warps; k++) {
        const SimCopies *q = c->warps[k].copies;
        for (uint32_t i = 0; q && i < q->n; i++)
            if ((q->of[i].to & 0xffffff) < at + bytes && at < (q->of[i].to & 0xffffff) + q->of[i].bytes)
                return true;
    }
    return bulk_pending_at(c, at, bytes);
}

/* ---- instructions ---- */

static uint64_t number(const SimWarp *w, const PtxInst *inst, uint32_t operand, uint32_t lane)
{
    return operand < inst->n_operands && inst->operand[operand].kind == OPERAND_SLOT ? slot_get(w, inst->operand[operand].slot, lane) : 0;
}

/* [to], [from], bytes {, bytes that are read or whether none are} {, cache policy} */
static uint32_t source_bytes(const SimWarp *w, const PtxInst *inst, uint32_t lane, uint32_t bytes)
{
    if (inst->n_operands < 4 || inst->operand[3].kind != OPERAND_SLOT || inst->operand[3].slot.bytes == 8)
        return bytes;
    uint32_t n = (uint32_t)number(w, inst, 3, lane);
    if (inst->operand[3].slot.bytes == 0)
        return n ? 0 : bytes;
    return n < bytes ? n : bytes;
}

static void push(SimCopies *q, const Copy *c)
{
    if (q->n == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 64;
        q->of = realloc(q->of, sizeof *q->of * q->cap);
        if (!q->of)
            exit(PAWL_EXIT_DEVICE);
    }
    q->of[q->n++] = *c;
}

static void profile_copy(SimWarp *w, const PtxInst *inst, uint32_t mask, const uint64_t *to, const uint64_t *from)
{
    uint32_t bytes = (uint32_t)number(w, inst, 2, (uint32_t)__builtin_ctz(mask)), read = 0;
    for_lanes(l, mask)
        read |= source_bytes(w, inst, l, bytes) ? 1u << l : 0;
    profile_access(w, inst, SPACE_SHARED, mask, to, bytes);
    profile_access(w, inst, SPACE_GLOBAL, read, from, bytes);
}

static SimFlow exec_copy(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint64_t to[LANES], from[LANES];
    SimCopies *q = copies_of(w);
    operand_addresses(w, inst, &inst->operand[0], mask, to);
    operand_addresses(w, inst, &inst->operand[1], mask, from);
    if (w->machine->launch->profile)
        profile_copy(w, inst, mask, to, from);
    for_lanes(l, mask) {
        uint32_t bytes = (uint32_t)number(w, inst, 2, l);
        if (bytes != 4 && bytes != 8 && bytes != 16)
            return sim_fault(w, FAULT_BAD_CALL, l, to[l], NULL, true, "cp.async copies 4, 8 or 16 bytes, not %u", bytes);
        Copy c = {.lane = l, .bytes = bytes, .source = source_bytes(w, inst, l, bytes), .inst = inst, .to = async_shared(to[l]), .from = from[l],
                  .number = q->made++};
        if (from[l] % bytes) {
            sim_fault(w, FAULT_MISALIGNED, l, from[l], NULL, false, "%u-byte copy from address 0x%llx, which is not a multiple of %u", bytes,
                      (unsigned long long)from[l], bytes);
        } else if (!async_is_late(w->machine)) {
            run_copy(w, &c);
        } else {
            async_undefine(w, c.to, bytes);
            push(q, &c);
        }
    }
    return FLOW_NEXT;
}

static SimFlow exec_commit(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    SimCopies *q = copies_of(w);
    (void)inst;
    for_lanes(l, mask)
        q->commits[l]++;
    for (uint32_t i = 0; i < q->n; i++)
        if (mask >> q->of[i].lane & 1 && !q->of[i].group)
            q->of[i].group = q->commits[q->of[i].lane];
    return FLOW_NEXT;
}

static SimFlow exec_wait(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    if (inst_has(inst, PM_WAIT_ALL))
        run_due(w, mask, 0, UINT64_MAX);
    else
        run_due(w, mask, number(w, inst, 0, (uint32_t)__builtin_ctz(mask)), 0);
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

static SimFlow exec_arrive(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint64_t at[LANES];
    operand_addresses(w, inst, &inst->operand[0], mask, at);
    for_lanes(l, mask) {
        AsyncBarrier *b = async_barrier_at(w, l, async_shared(at[l]));
        if (!b)
            return FLOW_STOP;
        b->pending += inst_has(inst, PM_NOINC) ? 0 : 1;
        async_start(&(AsyncOp){.warp = w, .lane = l, .inst = inst, .kind = ASYNC_ARRIVE, .from = copies_of(w)->made, .barrier = async_shared(at[l])});
    }
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

bool select_cp(Selector *s, PtxInst *inst)
{
    if (inst->op == PO_CP && inst_has(inst, PM_BULK))
        return select_bulk(inst) || (s->missing = true, false);
    if (inst->op != PO_CP || !inst_has(inst, PM_ASYNC)) {
        s->missing = true;
        return false;
    }
    if (inst_has(inst, PM_COMMIT_GROUP))
        inst->exec = exec_commit;
    else if (inst_has(inst, PM_WAIT_GROUP) || inst_has(inst, PM_WAIT_ALL))
        inst->exec = exec_wait;
    else if (inst_has(inst, PM_MBARRIER) && inst->n_operands == 1 && inst->operand[0].kind == OPERAND_MEMORY)
        inst->exec = exec_arrive;
    else if (inst->n_operands >= 3 && inst->operand[0].kind == OPERAND_MEMORY && inst->operand[1].kind == OPERAND_MEMORY)
        inst->exec = exec_copy;
    else
        return select_bad(s, inst, "it takes two addresses and a size");
    return true;
}

/* ---- the end of threads and CTAs ---- */

void async_thread_exit(SimWarp *w, uint32_t mask)
{
    SimMachine *m = w->machine;
    SimCopies *q = w->copies;
    const PtxInst *running = m->inst;
    if ((w->live & ~mask) == 0)
        wgmma_warp_exit(w);
    for (uint32_t i = 0; q && i < q->n; i++) {
        const Copy *c = &q->of[i];
        if (!(mask >> c->lane & 1) || bulk_arrives_after(w, c->lane, c->number))
            continue;
        m->inst = c->inst;
        sim_fault(w, FAULT_ASYNC_UNWAITED, c->lane, c->to, NULL, false, "the thread ends without a wait for this copy");
    }
    m->inst = running;
}

void async_cta_end(SimCta *c)
{
    bulk_cta_end(c);
    for (uint32_t i = 0; i < c->n_warps; i++) {
        if (c->warps[i].copies)
            free(c->warps[i].copies->of);
        c->warps[i].copies = NULL;
        wgmma_free(&c->warps[i]);
    }
    async_barriers_free(c);
}

bool async_progress(SimMachine *m) { return bulk_progress(m); }
