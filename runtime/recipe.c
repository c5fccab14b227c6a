/* runtime/recipe.c — weights made from several parameters, made again: concat of parameters is known here (stacked projections
 * are that); all else needs the compiler's evaluator, which the runtime does not have, and is refused with what to do instead. */
#include "runtime/recipe.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct { const char *at; } Scan;

static bool accept(Scan *s, const char *token)
{
    while (isspace((unsigned char)*s->at))
        s->at++;
    size_t n = strlen(token);
    if (strncmp(s->at, token, n) != 0)
        return false;
    s->at += n;
    return true;
}

/* %name or %"any text" */
static bool scan_name(Scan *s, const char **name, size_t *n)
{
    if (!accept(s, "%"))
        return false;
    bool quoted = *s->at == '"';
    s->at += quoted;
    *name = s->at;
    while (quoted ? *s->at && *s->at != '"' : isalnum((unsigned char)*s->at) || strchr("_.", *s->at ? *s->at : ' '))
        s->at++;
    *n = (size_t)(s->at - *name);
    s->at += quoted && *s->at == '"';
    return *n > 0;
}

static const Tensor *find_param(const char *name, size_t n, const Str *params, const Tensor *const *values, uint32_t n_params)
{
    for (uint32_t i = 0; i < n_params; i++)
        if (strlen(params[i]) == n && memcmp(params[i], name, n) == 0)
            return values[i];
    return NULL;
}

enum { MAX_PARTS = 64 };

/* "%w = concat(%a, %b, axis=0)": fills the parts; false when the recipe is anything else. */
static bool parse_concat(const char *recipe, const Str *params, const Tensor *const *values, uint32_t n_params, const Tensor **parts,
                         uint32_t *n_parts, int *axis)
{
    Scan s = {recipe};
    const char *name;
    size_t n;
    *n_parts = 0;
    if (!scan_name(&s, &name, &n) || !accept(&s, "=") || !accept(&s, "concat") || !accept(&s, "("))
        return false;
    while (*n_parts < MAX_PARTS && scan_name(&s, &name, &n)) {
        parts[*n_parts] = find_param(name, n, params, values, n_params);
        if (!parts[(*n_parts)++] || !accept(&s, ","))
            return false;
    }
    if (!accept(&s, "axis") || !accept(&s, "="))
        return false;
    while (*s.at == ' ')
        s.at++;
    char *end;
    *axis = (int)strtol(s.at, &end, 10);
    bool digits = end != s.at;
    s.at = end;
    return digits && accept(&s, ")") && *n_parts > 0;
}

static bool concat_into(const Tensor *const *parts, uint32_t n, int axis, Tensor *out)
{
    axis += axis < 0 ? out->rank : 0;
    if (axis < 0 || axis >= out->rank)
        return false;
    size_t outer = 1, inner = dtype_bytes(out->dtype);
    int64_t sum = 0;
    for (int k = 0; k < axis; k++)
        outer *= (size_t)out->dims[k];
    for (int k = axis + 1; k < out->rank; k++)
        inner *= (size_t)out->dims[k];
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i]->rank != out->rank || parts[i]->dtype != out->dtype)
            return false;
        for (int k = 0; k < out->rank; k++)
            if (k != axis && parts[i]->dims[k] != out->dims[k])
                return false;
        sum += parts[i]->dims[axis];
    }
    if (sum != out->dims[axis])
        return false;
    char *to = out->data;
    for (size_t o = 0; o < outer; o++)
        for (uint32_t i = 0; i < n; i++) {
            size_t bytes = (size_t)parts[i]->dims[axis] * inner;
            if (bytes)
                memcpy(to, (const char *)parts[i]->data + o * bytes, bytes);
            to += bytes;
        }
    return true;
}

bool recipe_fold(Diags *d, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n, Tensor *out)
{
    const Tensor *parts[MAX_PARTS];
    uint32_t n_parts;
    int axis = 0;
    if (parse_concat(recipe, params, values, n, parts, &n_parts, &axis))
        return concat_into(parts, n_parts, axis, out) ||
               diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the new weights do not have the shapes that \"%s\" was compiled for", recipe);
    return diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "mark these parameters `mutable` in the task, or compile again with the new ones",
                      "a stored weight was folded from parameters at compile time (%s); the runtime alone cannot fold it again", recipe);
}
