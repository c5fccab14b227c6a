/* runtime/package.c — opens packages: members, manifest, plans, and what those name in the other members. */
#include "runtime/package.h"
#include "runtime/plan_internal.h"
#include "runtime/safetensors.h"
#include "runtime/zip.h"
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

enum { FORMAT_MAJOR = 1 };

static const char again[] = "the package is damaged or was written by another version: compile it again";

#define refuse(p, ...) diag_error((p)->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, again, __VA_ARGS__)

/* ---- manifest ---- */

static bool manifest_format(Package *p, const json_t *root)
{
    const json_t *major = json_object_get(json_object_get(root, "format"), "major");
    if (!json_is_integer(major))
        return refuse(p, "%s: manifest.json: format.major is missing", p->zip->where);
    if (json_integer_value(major) != FORMAT_MAJOR)
        return diag_error(p->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "update Pawl's runtime, or compile again with this version",
                          "%s: package format %" JSON_INTEGER_FORMAT ", this runtime reads format %d", p->zip->where,
                          json_integer_value(major), FORMAT_MAJOR);
    return true;
}

/* Number of plans, or 0: diagnosed. */
static uint32_t read_manifest(Package *p)
{
    ZipMember *m = zip_find(p->zip, "manifest.json");
    if (!m) {
        refuse(p, "%s: member manifest.json is missing", p->zip->where);
        return 0;
    }
    const char *bytes = zip_member_bytes(p->zip, m, true, p->cx->diags);
    if (!bytes)
        return 0;
    p->manifest = arena_strndup(p->cx->arena, bytes, m->size);
    json_error_t error;
    json_t *root = json_loadb(bytes, m->size, JSON_REJECT_DUPLICATES, &error);
    uint32_t plans = 0;
    const json_t *n = json_object_get(root, "plans"), *name = json_object_get(root, "name");
    if (!root || !json_is_object(root))
        refuse(p, "%s: manifest.json:%d:%d: %s", p->zip->where, root ? 1 : error.line, root ? 1 : error.column,
               root ? "expected an object" : error.text);
    else if (!manifest_format(p, root))
        plans = 0;
    else if (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > 100000)
        refuse(p, "%s: manifest.json: plans: expected their number", p->zip->where);
    else
        plans = (uint32_t)json_integer_value(n);
    p->name = str_intern(p->cx->strs, json_is_string(name) ? json_string_value(name) : "package");
    json_decref(root);
    return plans;
}

/* ---- what a plan names in other members ---- */

static bool attach_code(Package *p, const char *where, Plan *plan)
{
    for (uint32_t i = 0; i < plan->kernels.n; i++)
        for (uint32_t k = 0; k < plan->kernels.data[i].code.n; k++) {
            PlanCode *c = &plan->kernels.data[i].code.data[k];
            ZipMember *m = zip_find(p->zip, c->member);
            if (!m)
                return refuse(p, "%s: %s: kernels[%u].code[%u].member: there is no member \"%s\"", p->zip->where, where, i, k, c->member);
            c->bytes = zip_member_bytes(p->zip, m, true, p->cx->diags);
            c->len = m->size;
            if (!c->bytes)
                return false;
        }
    return true;
}

static bool attach_weight(Package *p, const char *where, const Plan *plan, PlanWeight *w, const StoredTensors *stored)
{
    const PlanBuffer *f = &plan->buffers.data[w->buffer];
    const StoredTensor *s = safetensors_find(stored, w->key);
    if (!s)
        return refuse(p, "%s: %s: weight %s: weights.safetensors has no \"%s\"", p->zip->where, where, w->name, w->key);
    bool same = s->dtype == f->dtype && s->rank == f->rank && f->bytes->kind == DIM_CONST && f->bytes->value == (int64_t)s->bytes;
    for (uint32_t k = 0; same && k < f->rank; k++)
        same = dim_is(f->shape[k], s->dims[k]);
    if (!same)
        return refuse(p, "%s: %s: weight %s is stored with another type than the plan says", p->zip->where, where, w->name);
    Tensor *t = arena_new_of(p->cx->arena, Tensor);
    t->dtype = s->dtype;
    t->rank = (int)s->rank;
    memcpy(t->dims, s->dims, sizeof t->dims);
    t->data = (void *)(uintptr_t)s->data;
    w->data = t;
    return true;
}

/* Kernels load whole vectors from weights: a package packed again by another tool may have lost the alignment. */
static void align_weights(Package *p, StoredTensors *stored)
{
    vec_foreach(StoredTensor, t, &stored->list) {
        if ((uintptr_t)t->data % 64 == 0 || t->bytes == 0)
            continue;
        char *room = arena_alloc(p->cx->arena, t->bytes + 64);
        room += (64 - (uintptr_t)room % 64) % 64;
        t->data = memcpy(room, t->data, t->bytes);
    }
}

static bool read_weights(Package *p, StoredTensors *stored)
{
    ZipMember *m = zip_find(p->zip, "weights.safetensors");
    if (!m)
        return true;
    const void *bytes = zip_member_bytes(p->zip, m, m->method != 0, p->cx->diags);
    const char *where = arena_printf(p->cx->arena, "%s: weights.safetensors", p->zip->where);
    if (!bytes || !safetensors_read(p->cx, where, bytes, m->size, stored))
        return false;
    align_weights(p, stored);
    return true;
}

/* ---- plans ---- */

static Plan *read_plan(Package *p, uint32_t number, const StoredTensors *stored)
{
    const char *where = arena_printf(p->cx->arena, "plans/%u.json", number);
    ZipMember *m = zip_find(p->zip, where);
    if (!m) {
        refuse(p, "%s: member %s is missing", p->zip->where, where);
        return NULL;
    }
    const char *json = zip_member_bytes(p->zip, m, true, p->cx->diags);
    Plan *plan = json ? plan_read(p->cx, arena_printf(p->cx->arena, "%s: %s", p->zip->where, where), json, m->size) : NULL;
    if (!plan || !attach_code(p, where, plan))
        return NULL;
    plan->origin = p->map.data;
    for (uint32_t i = 0; i < plan->weights.n; i++)
        if (!attach_weight(p, where, plan, &plan->weights.data[i], stored))
            return NULL;
    return plan;
}

/* Callers see one list of inputs and outputs, whichever plan runs. */
static bool same_interface(Package *p, const Plan *a, const Plan *b)
{
    bool same = a->n_inputs == b->n_inputs && a->n_outputs == b->n_outputs;
    for (uint32_t i = 0; same && i < a->n_inputs + a->n_outputs; i++) {
        const PlanBuffer *x = &a->buffers.data[i], *y = &b->buffers.data[i];
        same = x->name == y->name && x->dtype == y->dtype && x->rank == y->rank;
    }
    return same || refuse(p, "%s: its plans disagree about inputs or outputs", p->zip->where);
}

static bool read_plans(Package *p, uint32_t n, const StoredTensors *stored)
{
    Plan **all = arena_new_array(p->cx->arena, Plan *, n);
    p->plans = arena_new_array(p->cx->arena, Plan *, n);
    for (uint32_t i = 0; i < n; i++) {
        all[i] = read_plan(p, i, stored);
        if (!all[i] || !same_interface(p, all[0], all[i]))
            return false;
    }
    for (uint32_t i = 0; i < n; i++)
        if (all[i]->workload)
            p->plans[p->n_plans++] = all[i];
    for (uint32_t i = 0; i < n; i++)
        if (!all[i]->workload)
            p->plans[p->n_plans++] = all[i];
    return true;
}

/* ---- opening ---- */

static Package *open_image(Context *cx, const char *where, FileMap map, bool owns_map)
{
    Package *p = arena_new_of(cx->arena, Package);
    *p = (Package){.cx = cx, .map = map, .owns_map = owns_map};
    StoredTensors stored = {0};
    p->zip = zip_open(cx->arena, cx->diags, where, map.data, map.len);
    uint32_t n = p->zip ? read_manifest(p) : 0;
    if (n && read_weights(p, &stored) && read_plans(p, n, &stored))
        return p;
    package_close(p);
    return NULL;
}

Package *package_open(Context *cx, const char *path)
{
    FileMap map;
    if (!file_map(cx->diags, path, &map))
        return NULL;
    return open_image(cx, arena_strdup(cx->arena, path), map, true);
}

Package *package_open_memory(Context *cx, const void *image, size_t len)
{
    return open_image(cx, "package", (FileMap){image, len}, false);
}

void package_close(Package *p)
{
    if (p && p->owns_map)
        file_unmap(&p->map);
}

bool package_check(Package *p, Diags *d)
{
    for (uint32_t i = 0; i < p->zip->n; i++)
        if (!zip_member_bytes(p->zip, &p->zip->members[i], true, d))
            return false;
    return true;
}
