/* runtime/sim/async_bulk.c — bulk copies: the queue of what is in flight, groups and barriers, copies of plain bytes. */
#include "runtime/sim/async.h"
#include <stdlib.h>

enum { PIECE = 16 };

static AsyncOps *ops_of(SimMachine *m)
{
    if (!m->async) {
        m->async = arena_new_of(m->arena, AsyncOps);
        m->async->last = &m->async->first;
        m->async->groups = map_new(m->arena);
    }
    return m->async;
}

static bool is_load(const AsyncOp *op) { return op->barrier != UINT64_MAX; }
static bool is_tensor(const AsyncOp *op) { return op->kind == ASYNC_TENSOR_LOAD || op->kind == ASYNC_TENSOR_STORE || op->kind == ASYNC_TENSOR_REDUCE; }
static uint64_t thread_key(const SimWarp *w, uint32_t lane) { return (uint64_t)(uintptr_t)w + lane; }

/* ---- taking effect ---- */

static uint8_t *reach(AsyncOp *op, PtxSpace space, uint64_t address, unsigned access)
{
    return lane_access(op->warp, op->inst, op->lane, space, address, PIECE, PIECE, access | ACCESS_ASYNC);
}

/* The address in CTA `rank` of the cluster. */
static uint64_t in_cta(uint64_t address, uint32_t rank) { return (address & 0xffffff) | (uint64_t)(rank + 1) << 24; }

static void copy_to(AsyncOp *op, uint64_t offset, const uint8_t *from)
{
    uint32_t targets = op->targets;
    if (!is_load(op) || !targets) {
        uint8_t *to = reach(op, is_load(op) ? SPACE_SHARED : SPACE_GLOBAL, op->to + offset, ACCESS_STORE);
        if (to)
            memcpy(to, from, PIECE);
    }
    for_lanes(r, targets) {
        uint8_t *to = reach(op, SPACE_SHARED, in_cta(op->to, r) + offset, ACCESS_STORE);
        if (to)
            memcpy(to, from, PIECE);
    }
}

static void reduce_to(AsyncOp *op, uint64_t offset, const uint8_t *from)
{
    PtxType type = (PtxType)op->inst->type[0];
    uint8_t *to = reach(op, is_load(op) ? SPACE_SHARED : SPACE_GLOBAL, op->to + offset, ACCESS_LOAD | ACCESS_STORE | ACCESS_ATOMIC | ACCESS_VOLATILE);
    for (uint32_t i = 0; to && i < PIECE; i += ptx_type_bytes(type))
        async_reduce(op->inst, type, to + i, from + i);
}

static void run_bytes(AsyncOp *op)
{
    bool shared_source = !is_load(op) || inst_has(op->inst, PM_SHARED_CTA);
    for (uint64_t i = 0; i < op->bytes; i += PIECE) {
        const uint8_t *from = reach(op, shared_source ? SPACE_SHARED : SPACE_GLOBAL, op->from + i, ACCESS_LOAD);
        uint8_t piece[PIECE];
        if (!from)
            return;
        memcpy(piece, from, PIECE);
        if (op->kind == ASYNC_REDUCE)
            reduce_to(op, i, piece);
        else
            copy_to(op, i, piece);
    }
}

static void signal_barrier(AsyncOp *op, uint64_t barrier)
{
    AsyncBarrier *b = async_barrier_at(op->warp, op->lane, barrier);
    if (b)
        async_barrier_arrive(op->warp, op->lane, b, op->kind == ASYNC_ARRIVE, (int64_t)op->bytes);
}

static void run_op(AsyncOp *op)
{
    SimMachine *m = op->warp->machine;
    const PtxInst *running = m->inst;
    m->inst = op->inst;
    op->done = true;
    switch (op->kind) {
    case ASYNC_LOAD:
    case ASYNC_STORE:
    case ASYNC_REDUCE:
        run_bytes(op);
        break;
    case ASYNC_TENSOR_LOAD:
    case ASYNC_TENSOR_STORE:
    case ASYNC_TENSOR_REDUCE:
        async_tensor_run(op);
        break;
    case ASYNC_ARRIVE:
        async_copies_run(op->warp, op->lane, op->from);
        break;
    }
    if (is_load(op) && !op->targets)
        signal_barrier(op, op->barrier);
    else if (is_load(op))
        for_lanes(r, op->targets)
            signal_barrier(op, in_cta(op->barrier, r));
    m->inst = running;
    machine_changed(m);
}

/* ---- the queue ---- */

static void drop(AsyncOps *q, AsyncOp **at)
{
    AsyncOp *op = *at;
    *at = op->next;
    if (q->last == &op->next)
        q->last = at;
    q->stores -= !is_load(op);
    free(op);
}

/* What a load will overwrite holds nothing that may be read until it has come. */
static void undefine(AsyncOp *op)
{
    if (!op->targets)
        async_undefine(op->warp, op->to, op->bytes);
    for_lanes(r, op->targets)
        async_undefine(op->warp, in_cta(op->to, r), op->bytes);
}

void async_start(const AsyncOp *op)
{
    AsyncOps *q = ops_of(op->warp->machine);
    AsyncOp *one = malloc(sizeof *one);
    if (!one)
        exit(PAWL_EXIT_DEVICE);
    *one = *op;
    one->next = NULL;
    if (is_tensor(one) && !async_tensor_begin(one)) {
        free(one);
        return;
    }
    if (!async_is_late(op->warp->machine))
        run_op(one);
    else if (op->kind == ASYNC_LOAD || op->kind == ASYNC_TENSOR_LOAD)
        undefine(one);
    if (one->done && is_load(one)) {
        free(one);
        return;
    }
    *q->last = one;
    q->last = &one->next;
    q->stores += !is_load(one);
}

bool bulk_progress(SimMachine *m)
{
    AsyncOp **any = NULL;
    if (!m->async)
        return false;
    for (AsyncOp **at = &m->async->first; *at; at = &(*at)->next) {
        if ((*at)->done || (any && !is_load(*at)))
            continue;
        any = at;
        if (is_load(*at))
            break;
    }
    if (!any)
        return false;
    AsyncOp *op = *any;
    run_op(op);
    if (is_load(op))
        drop(m->async, any);
    return true;
}

bool bulk_arrives_after(const SimWarp *w, uint32_t lane, uint64_t number)
{
    for (const AsyncOp *op = w->machine->async ? w->machine->async->first : NULL; op; op = op->next)
        if (op->warp == w && op->lane == lane && op->kind == ASYNC_ARRIVE && number < op->from)
            return true;
    return false;
}

bool bulk_pending_at(const SimCta *c, uint64_t at, uint64_t bytes)
{
    for (const AsyncOp *op = c->machine->async ? c->machine->async->first : NULL; op; op = op->next) {
        uint64_t to = op->to & 0xffffff, rank = op->to >> 24 & 0xff;
        bool here = op->targets ? op->targets >> c->rank & 1 : rank ? rank == c->rank + 1 : op->warp->cta == c;
        if (is_load(op) && op->kind != ASYNC_ARRIVE && !op->done && op->warp->cta->cluster == c->cluster && here && to < at + bytes && at < to + op->bytes)
            return true;
    }
    return false;
}

bool bulk_reads_at(const SimCta *c, uint64_t at, uint64_t bytes)
{
    const AsyncOps *q = c->machine->async;
    for (const AsyncOp *op = q && q->stores ? q->first : NULL; op; op = op->next) {
        uint64_t from = op->from & 0xffffff;
        if (!is_load(op) && op->warp->cta == c && from < at + bytes && at < from + op->bytes)
            return true;
    }
    return false;
}

void async_commit(SimWarp *w, uint32_t mask)
{
    AsyncOps *q = ops_of(w->machine);
    for_lanes(l, mask)
        map_set(q->groups, thread_key(w, l), map_get(q->groups, thread_key(w, l), 0) + 1);
    for (AsyncOp *op = q->first; op; op = op->next)
        if (op->warp == w && mask >> op->lane & 1 && !is_load(op) && !op->group)
            op->group = map_get(q->groups, thread_key(w, op->lane), 0);
}

void async_wait(SimWarp *w, uint32_t mask, uint64_t n)
{
    AsyncOps *q = ops_of(w->machine);
    for (AsyncOp **at = &q->first; *at; ) {
        AsyncOp *op = *at;
        if (op->warp != w || !(mask >> op->lane & 1) || !op->group || op->group + n > map_get(q->groups, thread_key(w, op->lane), 0)) {
            at = &op->next;
            continue;
        }
        if (!op->done)
            run_op(op);
        drop(q, at);
    }
}

static void report(AsyncOp *op)
{
    SimMachine *m = op->warp->machine;
    const PtxInst *running = m->inst;
    m->inst = op->inst;
    sim_fault(op->warp, FAULT_ASYNC_UNWAITED, op->lane, op->to, NULL, false,
              is_load(op) ? "the CTA ends while this copy is under way: nothing waited for its mbarrier"
                          : "the CTA ends before a cp.async.bulk.wait_group has waited for this copy");
    m->inst = running;
}

void bulk_cta_end(SimCta *c)
{
    SimMachine *m = c->machine;
    for (AsyncOp **at = m->async ? &m->async->first : NULL; at && *at; ) {
        AsyncOp *op = *at;
        if (op->warp->cta->cluster != c->cluster) {
            at = &op->next;
            continue;
        }
        if (!m->stop) {
            report(op);
            if (!op->done && !is_load(op))
                run_op(op);
        }
        drop(m->async, at);
    }
}

/* ---- instructions ---- */

static uint64_t number_of(const SimWarp *w, const PtxInst *inst, uint32_t operand, uint32_t lane)
{
    return operand < inst->n_operands && inst->operand[operand].kind == OPERAND_SLOT ? slot_get(w, inst->operand[operand].slot, lane) : 0;
}

static uint64_t address(const SimWarp *w, const PtxInst *inst, uint32_t operand, uint32_t mask, uint32_t lane)
{
    uint64_t at[LANES];
    operand_addresses(w, inst, &inst->operand[operand], mask, at);
    return at[lane];
}

static SimFlow exec_load(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    for_lanes(l, mask) {
        AsyncOp op = {.warp = w, .lane = l, .inst = inst, .kind = inst_has(inst, PM_REDUCE) ? ASYNC_REDUCE : ASYNC_LOAD,
                      .to = async_shared(address(w, inst, 0, mask, l)), .from = address(w, inst, 1, mask, l), .bytes = (uint32_t)number_of(w, inst, 2, l),
                      .barrier = async_shared(address(w, inst, 3, mask, l))};
        if (inst_has(inst, PM_SHARED_CTA))
            op.from = async_shared(op.from);
        if (inst_has(inst, PM_MULTICAST_CLUSTER))
            op.targets = (uint32_t)number_of(w, inst, 4, l) & 0xffff;
        if (op.bytes % PIECE)
            return sim_fault(w, FAULT_MISALIGNED, l, op.to, NULL, true, "a bulk copy of %llu bytes: multiples of 16 are possible", (unsigned long long)op.bytes);
        async_start(&op);
    }
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

static SimFlow exec_store(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    for_lanes(l, mask) {
        AsyncOp op = {.warp = w, .lane = l, .inst = inst, .kind = inst_has(inst, PM_REDUCE) ? ASYNC_REDUCE : ASYNC_STORE,
                      .to = address(w, inst, 0, mask, l), .from = async_shared(address(w, inst, 1, mask, l)), .bytes = (uint32_t)number_of(w, inst, 2, l),
                      .barrier = UINT64_MAX};
        if (op.bytes % PIECE)
            return sim_fault(w, FAULT_MISALIGNED, l, op.to, NULL, true, "a bulk copy of %llu bytes: multiples of 16 are possible", (unsigned long long)op.bytes);
        async_start(&op);
    }
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

static SimFlow exec_tensor(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    bool load = inst_has(inst, PM_COMPLETE_TX_BYTES);
    uint32_t map = load ? 1 : 0;
    const PtxOperand *o = &inst->operand[map];
    for_lanes(l, mask) {
        AsyncOp op = {.warp = w, .lane = l, .inst = inst, .map = address(w, inst, map, mask, l), .barrier = UINT64_MAX,
                      .kind = load ? ASYNC_TENSOR_LOAD : inst_has(inst, PM_REDUCE) ? ASYNC_TENSOR_REDUCE : ASYNC_TENSOR_STORE};
        for (uint32_t i = 0; i < o->n && i < 5; i++)
            op.at[i] = (int32_t)slot_get(w, o->vector[i], l);
        if (load) {
            op.to = async_shared(address(w, inst, 0, mask, l));
            op.barrier = async_shared(address(w, inst, 2, mask, l));
            op.targets = inst_has(inst, PM_MULTICAST_CLUSTER) ? (uint32_t)number_of(w, inst, 3, l) & 0xffff : 0;
        } else {
            op.from = async_shared(address(w, inst, 1, mask, l));
        }
        async_start(&op);
    }
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

static SimFlow exec_commit(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    (void)inst;
    async_commit(w, mask);
    return FLOW_NEXT;
}

static SimFlow exec_wait(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    async_wait(w, mask, number_of(w, inst, 0, (uint32_t)__builtin_ctz(mask)));
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

static SimFlow exec_prefetch(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    (void)w, (void)inst, (void)mask;
    return FLOW_NEXT;
}

static bool memories(const PtxInst *inst, uint32_t n, const uint8_t *where)
{
    for (uint32_t i = 0; i < n; i++)
        if (where[i] >= inst->n_operands || inst->operand[where[i]].kind != OPERAND_MEMORY)
            return false;
    return true;
}

bool select_bulk(PtxInst *inst)
{
    bool load = inst_has(inst, PM_COMPLETE_TX_BYTES);
    if (inst_has(inst, PM_COMMIT_GROUP))
        inst->exec = exec_commit;
    else if (inst_has(inst, PM_WAIT_GROUP))
        inst->exec = exec_wait;
    else if (inst_has(inst, PM_PREFETCH))
        inst->exec = exec_prefetch;
    else if (inst_has(inst, PM_IM2COL) || inst_has(inst, PM_CP_MASK) || inst_has(inst, PM_IM2COL_NO_OFFS))
        return false;
    else if (inst_has(inst, PM_TENSOR))
        inst->exec = memories(inst, load ? 3 : 2, (const uint8_t[]){0, 1, 2}) && inst->operand[load ? 1 : 0].n ? exec_tensor : NULL;
    else if (load)
        inst->exec = memories(inst, 3, (const uint8_t[]){0, 1, 3}) ? exec_load : NULL;
    else
        inst->exec = memories(inst, 2, (const uint8_t[]){0, 1}) ? exec_store : NULL;
    return inst->exec != NULL;
}
