/* ir/import/task_data.c — the contents of inputs and weights: drawn from the task's seed, or read from a safetensors file
 * (u64 little-endian header length, JSON header, bytes). */
#include "ir/import/task.h"
#include "base/file.h"
#include <jansson.h>
#include <string.h>

static bool input_dims(const Task *t, const GraphInput *in, const DimValue *v, uint32_t n, int64_t *dims)
{
    const Shape *s = &in->node->type.shape;
    double count = 1;

    for (uint32_t i = 0; i < s->rank; i++) {
        Str missing = NULL;
        if (!dim_eval(s->d[i], v, n, &dims[i], &missing) || dims[i] < 0)
            return diag_error(t->cx->diags, PAWL_EXIT_INVALID, in->node->loc, NULL, "'%s' has no size: %s is unbound", in->name,
                              missing ? missing : "a dim");
        count *= (double)dims[i];
    }
    if (count > 0x1p40)
        return diag_error(t->cx->diags, PAWL_EXIT_INVALID, in->node->loc, NULL, "'%s' is too large: %g elements", in->name, count);
    return true;
}

/* Paths are relative to the task's file. */
static const char *weight_path(const Task *t, const char *file, Arena *a)
{
    const char *slash = strrchr(t->source->name, '/');

    if (file[0] == '/' || !slash)
        return file;
    return arena_printf(a, "%.*s/%s", (int)(slash - t->source->name), t->source->name, file);
}

static const char *safetensors_dtype(DType t)
{
    static const char *const names[] = {
        [DT_F64] = "F64", [DT_F32] = "F32", [DT_F16] = "F16", [DT_BF16] = "BF16", [DT_I64] = "I64", [DT_I32] = "I32",
        [DT_I8] = "I8", [DT_U8] = "U8", [DT_BOOL] = "BOOL"
    };
    return names[t];
}

static bool entry_matches(json_t *entry, const Tensor *want)
{
    json_t *shape = json_object_get(entry, "shape");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));

    if (!dtype || strcmp(dtype, safetensors_dtype(want->dtype)) != 0 || (int)json_array_size(shape) != want->rank)
        return false;
    for (int i = 0; i < want->rank; i++)
        if (json_integer_value(json_array_get(shape, (size_t)i)) != want->dims[i])
            return false;
    return true;
}

/* Copies the tensor called `name` out of a mapped file; NULL, or what is wrong. */
static const char *safetensors_copy(const FileMap *m, const char *name, Tensor *out)
{
    const unsigned char *p = m->data;
    uint64_t header = 0;
    const char *wrong = NULL;

    for (int i = 0; i < 8 && m->len >= 8; i++)
        header |= (uint64_t)p[i] << (8 * i);
    if (m->len < 8 || header > m->len - 8)
        return "it is not a safetensors file, or cut short";
    json_t *json = json_loadb((const char *)p + 8, header, 0, NULL), *entry = json_object_get(json, name);
    json_t *span = json_object_get(entry, "data_offsets");
    json_int_t begin = json_integer_value(json_array_get(span, 0)), end = json_integer_value(json_array_get(span, 1));
    uint64_t room = m->len - 8 - header;
    if (!json)
        wrong = "its header is not JSON";
    else if (!entry)
        wrong = "it has no such tensor";
    else if (!entry_matches(entry, out))
        wrong = "its dtype or shape there is another";
    else if (begin < 0 || end < begin || (uint64_t)end > room || (size_t)(end - begin) != tensor_bytes(out))
        wrong = "its data lies outside the file";
    else
        memcpy(out->data, p + 8 + header + begin, (size_t)(end - begin));
    json_decref(json);
    return wrong;
}

static bool fill_from_file(const Task *t, const GraphInput *in, Tensor *out, Arena *a)
{
    const char *path = weight_path(t, in->file, a);
    FileMap m;

    if (!file_map(t->cx->diags, path, &m))
        return false;
    const char *wrong = safetensors_copy(&m, in->name, out);
    file_unmap(&m);
    return !wrong || diag_error(t->cx->diags, PAWL_EXIT_INVALID, in->node->loc, NULL, "'%s' from %s: %s", in->name, path, wrong);
}

Tensor *task_tensor(const Task *t, const GraphInput *in, const DimValue *v, uint32_t n, Arena *a)
{
    int64_t dims[MAX_RANK] = {0};

    if (!input_dims(t, in, v, n, dims))
        return NULL;
    Tensor *out = tensor_new(a, in->node->type.dtype, (int)node_rank(in->node), dims);
    if (in->file)
        return fill_from_file(t, in, out, a) ? out : NULL;
    philox_fill(out->dtype, out->data, 0, tensor_count(out), philox_key(t->seed, in->name), in->dist);
    return out;
}
