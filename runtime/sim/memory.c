/* runtime/sim/memory.c — global memory as regions at fixed addresses; windows for shared, local and parameters; accesses of lanes. */
#include "runtime/sim/check.h"
#include <stdlib.h>
#include <sys/mman.h>

enum { GUARD_BYTES = 4096 };

SimMemory *sim_memory_new(void)
{
    Arena *a = arena_new();
    SimMemory *m = arena_new_of(a, SimMemory);
    m->arena = a;
    m->next = MEMORY_BASE;
    return m;
}

static void free_shadow(SimRegion *r)
{
    uint64_t pages = (r->bytes / 4 + SHADOW_PAGE) / SHADOW_PAGE;
    for (uint64_t i = 0; r->shadow && i < pages; i++) {
        for (uint32_t k = 0; r->shadow[i] && k < SHADOW_PAGE; k++)
            free(r->shadow[i][k].split);
        free(r->shadow[i]);
    }
    free((void *)r->shadow);
    r->shadow = NULL;
}

static void region_release(SimRegion *r)
{
    free_shadow(r);
    free(r->init);
    free(r->filled);
    r->init = NULL;
    r->filled = NULL;
    if (r->owned && r->data)
        munmap(r->data, r->bytes + 1);
    r->data = NULL;
}

void sim_memory_free(SimMemory *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->regions.n; i++)
        region_release(m->regions.data[i]);
    arena_free(m->arena);
}

static void *allocated(void *p)
{
    if (p)
        return p;
    fputs("pawl: out of memory\n", stderr);
    exit(PAWL_EXIT_DEVICE);
}

uint64_t sim_memory_add(SimMemory *m, const SimBuffer *b)
{
    SimRegion *r = arena_new_of(m->arena, SimRegion);
    *r = (SimRegion){.base = m->next, .bytes = b->bytes, .data = b->data, .read_only = b->read_only, .buffer = *b};
    r->buffer.name = arena_strdup(m->arena, b->name ? b->name : "buffer");
    if (!b->data) {
        void *p = mmap(NULL, b->bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        r->data = allocated(p == MAP_FAILED ? NULL : p);
        r->owned = true;
        if (b->fill)
            r->filled = allocated(calloc(b->bytes / FILL_PAGE + 1, 1));
    }
    if (!b->initialised && !b->fill)
        r->init = allocated(calloc(b->bytes / 64 + 2, 8));
    m->next += (b->bytes + GUARD_BYTES + 255) / 256 * 256;
    vec_push(m->arena, &m->regions, r);
    return r->base;
}

SimRegion *memory_region(const SimMemory *m, uint64_t address)
{
    uint32_t lo = 0, hi = m->regions.n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (m->regions.data[mid]->base <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    SimRegion *r = lo ? m->regions.data[lo - 1] : NULL;
    return r && !r->dead && address - r->base < r->bytes ? r : NULL;
}

void sim_memory_forget(SimMemory *m, uint64_t address)
{
    SimRegion *r = memory_region(m, address);
    for (uint32_t i = 0; !r && i < m->regions.n; i++)                  /* empty buffers have an address as well */
        r = m->regions.data[i]->base == address ? m->regions.data[i] : NULL;
    if (!r)
        return;
    region_release(r);
    r->dead = true;
}

void sim_memory_set_initialised(SimMemory *m, uint64_t address, bool initialised)
{
    SimRegion *r = memory_region(m, address);
    if (!r)
        return;
    if (initialised) {
        free(r->init);
        r->init = NULL;
    } else {
        free(r->init);
        r->init = allocated(calloc(r->bytes / 64 + 2, 8));
    }
}

void *sim_memory_data(const SimMemory *m, uint64_t address)
{
    SimRegion *r = memory_region(m, address);
    if (!r)
        return NULL;
    memory_touch(r, 0, r->bytes);
    return r->data + (address - r->base);
}

void memory_touch(SimRegion *r, uint64_t offset, uint64_t bytes)
{
    if (!r->filled || !bytes)
        return;
    for (uint64_t page = offset / FILL_PAGE; page <= (offset + bytes - 1) / FILL_PAGE; page++) {
        if (r->filled[page])
            continue;
        uint64_t at = page * FILL_PAGE, n = r->bytes - at < FILL_PAGE ? r->bytes - at : FILL_PAGE;
        r->buffer.fill(r->buffer.fill_arg, at, r->data + at, n);
        r->filled[page] = 1;
    }
}

/* ---- variables of modules ---- */

static uint64_t bind_one(SimMemory *m, const PtxVar *v)
{
    SimBuffer b = {.name = v->name, .bytes = v->bytes ? v->bytes : 1, .initialised = true, .read_only = v->space == SPACE_CONST};
    uint64_t at = sim_memory_add(m, &b);
    SimRegion *r = m->regions.data[m->regions.n - 1];
    r->is_const = v->space == SPACE_CONST;
    if (v->data)
        memcpy(r->data, v->data, v->bytes);
    return at;
}

const uint64_t *memory_bind(SimMemory *m, const PtxModule *module)
{
    for (uint32_t i = 0; i < m->modules.n; i++)
        if (m->modules.data[i].module == module)
            return m->modules.data[i].at;
    uint64_t *at = arena_new_array(m->arena, uint64_t, module->globals.n + 1);
    for (uint32_t i = 0; i < module->globals.n; i++)
        at[i] = bind_one(m, module->globals.data[i]);
    for (uint32_t i = 0; i < module->globals.n; i++) {
        const PtxVar *v = module->globals.data[i];
        for (uint32_t k = 0; k < v->n_fixups; k++) {
            const PtxFixup *f = &v->fixups[k];
            uint64_t a = f->var->space == SPACE_GLOBAL || f->var->space == SPACE_CONST ? at[f->var->at] + (uint64_t)f->add : 0;
            memcpy((uint8_t *)sim_memory_data(m, at[i]) + f->offset, &a, f->bytes);
        }
    }
    uint32_t n = m->modules.n;
    vec_reserve(m->arena, &m->modules, n + 1);
    m->modules.n = n + 1;
    m->modules.data[n].module = module;
    m->modules.data[n].at = at;
    return at;
}

uint64_t sim_memory_symbol(SimMemory *m, const PtxModule *module, const char *name)
{
    const uint64_t *at = memory_bind(m, module);
    for (uint32_t i = 0; i < module->globals.n; i++)
        if (strcmp(module->globals.data[i]->name, name) == 0)
            return at[i];
    return 0;
}

/* ---- addresses ---- */

PtxSpace address_space(uint64_t a)
{
    switch (a & WINDOW_MASK) {
    case WINDOW_SHARED: return SPACE_SHARED;
    case WINDOW_LOCAL:  return SPACE_LOCAL;
    case WINDOW_PARAM:  return SPACE_PARAM;
    default:            return SPACE_GLOBAL;
    }
}

uint64_t address_generic(PtxSpace space, uint64_t a)
{
    switch (space) {
    case SPACE_SHARED: return WINDOW_SHARED | (uint32_t)a;
    case SPACE_LOCAL:  return WINDOW_LOCAL | (uint32_t)a;
    case SPACE_PARAM:  return WINDOW_PARAM | (uint32_t)a;
    case SPACE_GENERIC:
    case SPACE_GLOBAL:
    case SPACE_CONST:
    case SPACE_COUNT:
        break;
    }
    return a;
}

void operand_addresses(const SimWarp *w, const PtxInst *inst, const PtxOperand *o, uint32_t mask, uint64_t address[LANES])
{
    (void)inst;
    if (o->in_frame || o->in_params) {
        uint64_t at = (uint64_t)o->offset + (o->in_frame ? w->now->local : 0);
        for (uint32_t l = 0; l < LANES; l++)
            address[l] = at;
    } else if (o->slot.bytes == 8) {
        const uint64_t *a = slot_u64(w, o->slot);
        for (uint32_t l = 0; l < LANES; l++)
            address[l] = a[l] + (uint64_t)o->offset;
    } else {
        const uint32_t *a = slot_u32(w, o->slot);
        for (uint32_t l = 0; l < LANES; l++)
            address[l] = (uint32_t)(a[l] + (uint32_t)o->offset);
    }
    (void)mask;
}

/* ---- accesses ---- */

static const char *verb(unsigned access)
{
    return access & ACCESS_ATOMIC ? "atomic on" : access & ACCESS_STORE ? "store to" : "load from";
}

static uint8_t *access_global(SimWarp *w, const PtxInst *inst, uint32_t lane, uint64_t a, uint32_t bytes, unsigned access)
{
    SimMachine *m = w->machine;
    uint32_t number = (uint32_t)(inst - m->module->code.data);
    SimRegion *r = m->recent[number];
    if (!r || a - r->base >= r->bytes || r->dead) {
        r = memory_region(m->memory, a);
        m->recent[number] = r;
        if (r && m->domain && m->domain->region && !r->domain_data)
            m->domain->region(m->domain->arg, r);
    }
    if (!r || a - r->base + bytes > r->bytes) {
        uint64_t back = a - 1 < MEMORY_BASE ? 0 : a - 1;
        const SimRegion *near = r ? r : memory_region(m->memory, back);
        for (uint32_t k = 0; !near && k < m->memory->regions.n; k++) {
            const SimRegion *x = m->memory->regions.data[k];
            near = !x->dead && (a - x->base < x->bytes + GUARD_BYTES || x->base - a < GUARD_BYTES) ? x : NULL;
        }
        if (near)
            sim_fault(w, FAULT_OUT_OF_BOUNDS, lane, a, NULL, false, "%u-byte %s global memory at byte %lld of %s, which has %llu", bytes,
                      verb(access), (long long)(a - near->base), near->buffer.name, (unsigned long long)near->bytes);
        else
            sim_fault(w, FAULT_OUT_OF_BOUNDS, lane, a, NULL, false, "%u-byte %s address 0x%llx, where no buffer is", bytes, verb(access),
                      (unsigned long long)a);
        return NULL;
    }
    uint64_t at = a - r->base;
    if (access & ACCESS_STORE && r->read_only) {
        sim_fault(w, FAULT_READ_ONLY, lane, a, NULL, false, "store to %s, which may only be read", r->buffer.name);
        return NULL;
    }
    if (r->filled)
        memory_touch(r, at, bytes);
    if (m->check)
        check_access(m->check, w, inst, lane, r, NULL, at, a, bytes, access);
    return r->data + at;
}

static uint8_t *access_shared(SimWarp *w, const PtxInst *inst, uint32_t lane, uint64_t a, uint32_t bytes, unsigned access)
{
    SimCta *c = w->cta;
    uint32_t rank = (uint32_t)(a >> 24 & 0xff), at = (uint32_t)a & 0xffffff;
    if (rank)
        c = rank <= c->cluster->n_ctas ? &c->cluster->ctas[rank - 1] : NULL;
    if (!c || a > UINT32_MAX || at + bytes > c->shared_bytes) {
        sim_fault(w, FAULT_OUT_OF_BOUNDS, lane, a, NULL, false, "%u-byte %s shared memory at byte %llu, of which the CTA has %u", bytes,
                  verb(access), (unsigned long long)a, w->cta->shared_bytes);
        return NULL;
    }
    if (w->machine->check)
        check_access(w->machine->check, w, inst, lane, NULL, c, at, WINDOW_SHARED | a, bytes, access);
    return c->shared + at;
}

static uint8_t *access_local(SimWarp *w, const PtxInst *inst, uint32_t lane, uint64_t a, uint32_t bytes, unsigned access)
{
    if (a + bytes > w->local_bytes || a > w->local_bytes) {
        sim_fault(w, FAULT_OUT_OF_BOUNDS, lane, a, NULL, false, "%u-byte %s local memory at byte %llu, of which the thread has %llu", bytes,
                  verb(access), (unsigned long long)a, (unsigned long long)w->local_bytes);
        return NULL;
    }
    if (w->machine->check)
        check_local(w, inst, lane, a, bytes, access);
    return w->local + (uint64_t)lane * w->local_bytes + a;
}

static uint8_t *access_params(SimWarp *w, uint32_t lane, uint64_t a, uint32_t bytes, unsigned access)
{
    SimMachine *m = w->machine;
    if (a + bytes > m->param_bytes || a > m->param_bytes || access & ACCESS_STORE) {
        sim_fault(w, access & ACCESS_STORE ? FAULT_READ_ONLY : FAULT_OUT_OF_BOUNDS, lane, a, NULL, false,
                  "%u-byte %s the kernel's parameters at byte %llu of %u", bytes, verb(access), (unsigned long long)a, m->param_bytes);
        return NULL;
    }
    return m->params + a;
}

uint8_t *lane_access(SimWarp *w, const PtxInst *inst, uint32_t lane, PtxSpace space, uint64_t a, uint32_t bytes, uint32_t align,
                     unsigned access)
{
    if (a % align) {
        sim_fault(w, FAULT_MISALIGNED, lane, a, NULL, false, "%u-byte %s address 0x%llx, which is not a multiple of %u", bytes, verb(access),
                  (unsigned long long)a, align);
        return NULL;
    }
    if (space == SPACE_GENERIC) {
        space = address_space(a);
        a = space == SPACE_GLOBAL ? a : (uint32_t)a;
    }
    SimResult *r = w->machine->result;
    if (access & ACCESS_LOAD)
        r->bytes_loaded[space] += bytes;
    if (access & ACCESS_STORE)
        r->bytes_stored[space] += bytes;
    switch (space) {
    case SPACE_SHARED: return access_shared(w, inst, lane, a, bytes, access);
    case SPACE_LOCAL:  return access_local(w, inst, lane, a, bytes, access);
    case SPACE_PARAM:  return access_params(w, lane, a, bytes, access);
    case SPACE_GLOBAL:
    case SPACE_CONST:
    case SPACE_GENERIC:
    case SPACE_COUNT:
        break;
    }
    return access_global(w, inst, lane, a, bytes, access);
}
