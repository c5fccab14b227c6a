/* runtime/reload.c — pawl_reload_weights: all is checked, then applied; a stored weight that was made from parameters is made
 * again, which needs all of them at once. */
#include "runtime/api_internal.h"
#include "runtime/recipe.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    pawl_session *s;
    const char *const *names;
    const pawl_tensor *tensors;
    uint32_t n;
    bool *used;
    Arena *a;
} Reload;

#define refuse(r, ...) diag_error((r)->s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, __VA_ARGS__)

static bool is_dense(const pawl_tensor *t)
{
    int64_t dense = 1;
    bool any = false;
    for (int32_t k = 0; k < t->rank; k++)
        any |= t->strides[k] != 0;
    for (int32_t k = t->rank; any && k-- > 0; dense *= t->shape[k])
        if (t->shape[k] != 1 && t->strides[k] != dense)
            return false;
    return true;
}

static bool check_given(const Reload *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const pawl_tensor *t = &r->tensors[i];
        if (!r->names[i])
            return refuse(r, "weight %u has no name", i);
        if (t->dtype < 0 || t->dtype >= DT_COUNT || t->rank < 0 || t->rank > PAWL_MAX_RANK)
            return refuse(r, "weight \"%s\": dtype %d or rank %d is out of range", r->names[i], t->dtype, t->rank);
        for (int32_t k = 0; k < t->rank; k++)
            if (t->shape[k] < 0)
                return refuse(r, "weight \"%s\": dim %d is negative", r->names[i], k);
        if (!t->data || !is_dense(t))
            return refuse(r, "weight \"%s\": %s", r->names[i], t->data ? "must be dense row-major" : "data is NULL");
    }
    return true;
}

static int given(const Reload *r, const char *name)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (strcmp(r->names[i], name) == 0)
            return (int)i;
    return -1;
}

static Tensor *as_tensor(const Reload *r, int i)
{
    Tensor *t = arena_new_of(r->a, Tensor);
    *t = (Tensor){.dtype = (DType)r->tensors[i].dtype, .rank = r->tensors[i].rank, .data = r->tensors[i].data};
    memcpy(t->dims, r->tensors[i].shape, sizeof t->dims);
    return t;
}

static bool same_type(const Tensor *a, const Tensor *b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int k = 0; same && k < a->rank; k++)
        same = a->dims[k] == b->dims[k];
    return same;
}

/* A weight that was made from parameters, from new ones; NULL: refused. */
static Tensor *made_again(const Reload *r, const PlanWeight *w, const Tensor *const *values)
{
    Tensor *out = NULL;
    RecipeResult result = recipe_make(r->a, w->recipe, w->params, values, w->n_params, &out);
    if (result == RECIPE_UNKNOWN) {
        diag_error(r->s->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE,
                   "mark these parameters `mutable` in the task, or compile again with the new ones",
                   "a stored weight was folded from parameters at compile time (%s); the runtime alone cannot fold it again", w->recipe);
        return NULL;
    }
    if (result == RECIPE_MISFITS || !same_type(out, w->data)) {
        refuse(r, "the new weights do not have the shapes that \"%s\" was compiled for", w->recipe);
        return NULL;
    }
    /* where the old one has lines that pieces do not hold, too, the product has the original at hand */
    if (recipe_is_scales(w->recipe) && recipe_scales_hold(w->data) && !recipe_scales_hold(out)) {
        diag_error(r->s->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "compile again with the new weights",
                   "\"%s\" is stored in f16 pieces, which cannot hold the new one: a row or column of it has a number that is not "
                   "finite, or nonzero ones more than 2^29 apart", w->n_params ? w->params[0] : "a weight");
        return NULL;
    }
    return out;
}

/* New bytes for a stored weight; NULL and true when it is not concerned. */
static bool new_bytes(const Reload *r, const PlanWeight *w, const void **bytes)
{
    *bytes = NULL;
    if (!w->recipe) {
        int i = given(r, w->name);
        if (i < 0)
            return true;
        r->used[i] = true;
        const Tensor *t = as_tensor(r, i);
        *bytes = t->data;
        return same_type(t, w->data) || refuse(r, "weight \"%s\" has another element type or shape than the one that it replaces", w->name);
    }
    uint32_t found = 0;
    const Tensor **values = arena_new_array(r->a, const Tensor *, w->n_params + 1);
    const char *absent = NULL;
    for (uint32_t k = 0; k < w->n_params; k++) {
        int i = given(r, w->params[k]);
        if (i < 0) {
            absent = w->params[k];
            continue;
        }
        r->used[i] = true;
        values[k] = as_tensor(r, i);
        found++;
    }
    if (found == 0)
        return true;
    if (absent)
        return refuse(r, "a stored weight was made from several parameters (%s): give \"%s\" as well", w->recipe, absent);
    Tensor *out = made_again(r, w, values);
    *bytes = out ? out->data : NULL;
    return out != NULL;
}

static bool refuse_unused(const Reload *r)
{
    const Package *k = r->s->package->package;
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->used[i])
            continue;
        Vec(const char *) names = {0};
        for (uint32_t p = 0; p < k->n_plans; p++)
            vec_foreach(PlanWeight, w, &k->plans[p]->weights) {
                if (!w->recipe)
                    vec_push(r->a, &names, w->name);
                for (uint32_t q = 0; q < w->n_params; q++)
                    vec_push(r->a, &names, w->params[q]);
            }
        const char *near = str_nearest(r->names[i], names.data, names.n);
        return refuse(r, "the package has no weight \"%s\"%s%s%s", r->names[i], near ? "; did you mean \"" : "", near ? near : "",
                      near ? "\"?" : "");
    }
    return true;
}

typedef struct { uint32_t plan, weight; const void *bytes; } Change;

static bool reload(Reload *r)
{
    const Package *k = r->s->package->package;
    Vec(Change) changes = {0};
    if (!check_given(r))
        return false;
    for (uint32_t p = 0; p < k->n_plans; p++) {
        if (k->plans[p]->target != r->s->target)
            continue;
        for (uint32_t i = 0; i < k->plans[p]->weights.n; i++) {
            Change c = {p, i, NULL};
            if (!new_bytes(r, &k->plans[p]->weights.data[i], &c.bytes))
                return false;
            if (c.bytes)
                vec_push(r->a, &changes, c);
        }
    }
    if (!refuse_unused(r))
        return false;
    vec_foreach(Change, c, &changes) {
        Executor *e = session_executor(r->s, c->plan);
        if (!e || !r->s->ops->set_weight(e, c->weight, c->bytes, tensor_bytes(k->plans[c->plan]->weights.data[c->weight].data), r->s->diags))
            return false;
    }
    return true;
}

pawl_status pawl_reload_weights(pawl_session *s, const char *const *names, const pawl_tensor *tensors, int32_t n)
{
    if (!s || n < 0 || (n && (!names || !tensors)))
        return api_error(PAWL_ERROR_INVALID, "pawl_reload_weights: %s", !s ? "session is NULL" : n < 0 ? "n is negative" : "NULL given");
    Reload r = {s, names, tensors, (uint32_t)n, NULL, arena_new()};
    r.used = arena_new_array(r.a, bool, r.n + 1);
    bool good = reload(&r);
    arena_free(r.a);
    return good ? PAWL_OK : session_failed(s);
}
