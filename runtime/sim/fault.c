/* runtime/sim/fault.c — reports: one a kind and pair of instructions, with the first place and how often; who is stuck. */
#include "runtime/sim/check.h"
#include "runtime/sim/run.h"
#include <stdarg.h>

enum { MAX_FAULTS = 256 };

const char *sim_fault_name(SimFaultKind k)
{
    static const char *const names[] = {
#define X(e, t) [FAULT_##e] = t,
        SIM_FAULTS(X)
#undef X
    };
    return names[k];
}

void fault_add(SimMachine *m, const SimFault *f)
{
    uint64_t key = hash_mix(hash_mix((uint64_t)(uintptr_t)f->inst, (uint64_t)(uintptr_t)f->other), f->kind);
    SimFault *old = (SimFault *)(uintptr_t)map_get(m->fault_index, key, 0);
    if (old) {
        old->count++;
        return;
    }
    if (m->faults.n == MAX_FAULTS)
        return;
    SimFault *one = arena_copy(m->arena, f, sizeof *f);
    map_set(m->fault_index, key, (uint64_t)(uintptr_t)one);
    vec_push(m->arena, &m->faults, one);
}

static void thread_id(const SimMachine *m, uint32_t linear, uint32_t out[3])
{
    const uint32_t *b = m->launch->block;
    out[0] = linear % b[0];
    out[1] = linear / b[0] % b[1];
    out[2] = linear / b[0] / b[1];
}

SimFlow sim_fault(SimWarp *w, SimFaultKind k, uint32_t lane, uint64_t address, const PtxInst *other, bool stop, const char *fmt, ...)
{
    SimMachine *m = w->machine;
    SimFault f = {.kind = k, .inst = m->inst, .other = other, .address = address, .count = 1};
    uint64_t key = hash_mix(hash_mix((uint64_t)(uintptr_t)f.inst, (uint64_t)(uintptr_t)other), k);
    SimFault *old = (SimFault *)(uintptr_t)map_get(m->fault_index, key, 0);
    if (old) {
        old->count++;
    } else {
        va_list ap;
        va_start(ap, fmt);
        f.text = arena_vprintf(m->arena, fmt, ap);
        va_end(ap);
        memcpy(f.cta, w->cta->id, sizeof f.cta);
        thread_id(m, w->first_thread + (lane < LANES ? lane : (uint32_t)__builtin_ctz(w->now->mask | 1u << 31)), f.thread);
        fault_add(m, &f);
    }
    m->stop |= stop;
    return stop ? FLOW_STOP : FLOW_NEXT;
}

void fault_collect(SimMachine *m, Arena *a)
{
    SimResult *r = m->result;
    r->faults = arena_new_array(a, SimFault, m->faults.n + 1);
    for (uint32_t i = 0; i < m->faults.n; i++) {
        r->faults[i] = *m->faults.data[i];
        r->faults[i].text = arena_strdup(a, r->faults[i].text);
    }
    r->n_faults = m->faults.n;
}

/* ---- as diagnostics ---- */

static void place(const PtxModule *m, const PtxInst *i, char *out, size_t room)
{
    const char *file = i->file && i->file < m->files.n ? m->files.data[i->file] : NULL;
    if (file)
        snprintf(out, room, " (%s:%u)", file, i->file_line);
    else
        *out = 0;
}

void sim_fault_diagnose(const PtxModule *m, const SimFault *f, Diags *d)
{
    char here[512] = "", there[512] = "", times[48] = "";
    if (f->inst)
        place(m, f->inst, here, sizeof here);
    if (f->count > 1)
        snprintf(times, sizeof times, ", %llu times", (unsigned long long)f->count);
    diag_error(d, PAWL_EXIT_CHECK_FAILED, f->inst ? f->inst->loc : LOC_NONE, NULL, "%s: %s; CTA (%u, %u, %u), thread (%u, %u, %u)%s%s",
               sim_fault_name(f->kind), f->text, f->cta[0], f->cta[1], f->cta[2], f->thread[0], f->thread[1], f->thread[2], times, here);
    if (f->other) {
        place(m, f->other, there, sizeof there);
        diag_note(d, f->other->loc, "the other access%s", there);
    }
}

/* ---- who is stuck ---- */

static void report_group(SimMachine *m, SimWarp *w, const SimGroup *g)
{
    const PtxInst *i = &m->module->code.data[g->pc];
    w->now = &w->group[g - w->group];
    m->inst = i;
    uint32_t lane = (uint32_t)__builtin_ctz(g->mask), away = w->live & ~g->mask;
    if ((i->op == PO_BAR || i->op == PO_BARRIER) && away && (inst_has(i, PM_ALIGNED) || i->op == PO_BAR) && !inst_has(i, PM_WARP))
        sim_fault(w, FAULT_DIVERGENT, lane, 0, NULL, false, "%u of the warp's threads wait here while %u are elsewhere",
                  (unsigned)__builtin_popcount(g->mask), (unsigned)__builtin_popcount(away));
    else if (i->op == PO_BAR || i->op == PO_BARRIER)
        sim_fault(w, FAULT_DIVERGENT, lane, 0, NULL, false, "threads wait here for others that never come");
    else
        sim_fault(w, FAULT_DEADLOCK, lane, 0, NULL, false, "threads wait here, and nothing else can run");
}

void report_stuck(SimMachine *m, SimCluster *const *clusters, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < clusters[i]->n_ctas; c++)
            for (uint32_t k = 0; k < clusters[i]->ctas[c].n_warps; k++) {
                SimWarp *w = &clusters[i]->ctas[c].warps[k];
                for (uint32_t g = 0; w->live && g < w->n_groups; g++)
                    report_group(m, w, &w->group[g]);
            }
}
