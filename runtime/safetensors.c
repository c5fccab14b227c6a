/* runtime/safetensors.c — reading and writing the weights' member. The format knows no holes, so what keeps tensors 64-byte
 * aligned (the CPU maps them and loads whole vectors) is small u8 tensors between them. */
#include "runtime/safetensors.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[DT_COUNT] = {
    [DT_F64] = "F64", [DT_F32] = "F32", [DT_F16] = "F16", [DT_BF16] = "BF16", [DT_I64] = "I64", [DT_I32] = "I32",
    [DT_I8] = "I8", [DT_U8] = "U8", [DT_BOOL] = "BOOL"
};

typedef struct { Context *cx; const char *where; const uint8_t *data; size_t len; } Reader;

static bool refuse(const Reader *r, const char *key, const char *what)
{
    return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "the file was damaged: copy or compile it again",
                      "%s: tensor \"%s\": %s", r->where, key, what);
}

static bool dtype_of(const char *s, DType *out)
{
    for (int t = 0; s && t < DT_COUNT; t++)
        if (strcmp(names[t], s) == 0) {
            *out = (DType)t;
            return true;
        }
    return false;
}

static bool read_entry(const Reader *r, const char *key, const json_t *v, StoredTensor *t)
{
    const json_t *shape = json_object_get(v, "shape"), *span = json_object_get(v, "data_offsets");
    if (!dtype_of(json_string_value(json_object_get(v, "dtype")), &t->dtype))
        return refuse(r, key, "unknown element type");
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_MAX_RANK)
        return refuse(r, key, "no shape of at most 8 dims");
    t->name = str_intern(r->cx->strs, key);
    t->rank = (uint32_t)json_array_size(shape);
    uint64_t bytes = dtype_bytes(t->dtype);
    for (uint32_t k = 0; k < t->rank; k++) {
        const json_t *e = json_array_get(shape, k);
        t->dims[k] = json_is_integer(e) ? json_integer_value(e) : -1;
        if (t->dims[k] < 0 || __builtin_mul_overflow(bytes, (uint64_t)t->dims[k], &bytes))
            return refuse(r, key, "a dim is no size");
    }
    const json_t *b = json_array_get(span, 0), *e = json_array_get(span, 1);
    if (!json_is_array(span) || json_array_size(span) != 2 || !json_is_integer(b) || !json_is_integer(e))
        return refuse(r, key, "no data_offsets");
    int64_t begin = json_integer_value(b), end = json_integer_value(e);
    if (begin < 0 || end < begin || (uint64_t)end > r->len || (uint64_t)(end - begin) != bytes)
        return refuse(r, key, "its span does not fit its shape and the file");
    t->data = r->data + begin;
    t->bytes = bytes;
    return true;
}

static int by_place(const void *a, const void *b)
{
    const StoredTensor *x = *(const StoredTensor *const *)a, *y = *(const StoredTensor *const *)b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static bool without_holes(const Reader *r, const StoredTensors *s)
{
    if (!s->list.n)
        return r->len == 0 || refuse(r, "", "bytes that belong to no tensor");
    Arena *a = arena_new();
    const StoredTensor **order = arena_new_array(a, const StoredTensor *, s->list.n);
    for (uint32_t i = 0; i < s->list.n; i++)
        order[i] = &s->list.data[i];
    qsort(order, s->list.n, sizeof *order, by_place);
    const uint8_t *at = r->data;
    bool good = true;
    for (uint32_t i = 0; good && i < s->list.n; i++) {
        good = order[i]->data == at || refuse(r, order[i]->name, "overlaps another or leaves a hole");
        at += order[i]->bytes;
    }
    arena_free(a);
    return good && (at == r->data + r->len || refuse(r, "", "bytes that belong to no tensor"));
}

bool safetensors_read(Context *cx, const char *where, const void *bytes, size_t len, StoredTensors *out)
{
    Reader r = {cx, where, NULL, 0};
    uint64_t header = 0;
    for (int i = 0; len >= 8 && i < 8; i++)
        header |= (uint64_t)((const uint8_t *)bytes)[i] << 8 * i;
    if (len < 8 || header > len - 8 || header > 100000000)
        return refuse(&r, "", "the header does not fit the file");
    json_error_t error;
    json_t *j = json_loadb((const char *)bytes + 8, header, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(j)) {
        json_decref(j);
        return refuse(&r, "", j ? "the header is no object" : error.text);
    }
    r.data = (const uint8_t *)bytes + 8 + header;
    r.len = len - 8 - header;
    const char *key;
    json_t *v;
    bool good = true;
    json_object_foreach(j, key, v) {
        StoredTensor t = {0};
        if (strcmp(key, "__metadata__") == 0)
            continue;
        good = read_entry(&r, key, v, &t);
        if (!good)
            break;
        vec_push(cx->arena, &out->list, t);
    }
    json_decref(j);
    return good && without_holes(&r, out);
}

const StoredTensor *safetensors_find(const StoredTensors *s, const char *name)
{
    for (uint32_t i = 0; i < s->list.n; i++)
        if (strcmp(s->list.data[i].name, name) == 0)
            return &s->list.data[i];
    return NULL;
}

static void put_entry(json_t *root, const char *name, const char *dtype, const int64_t *dims, uint32_t rank, uint64_t at, uint64_t bytes)
{
    json_t *o = json_object(), *shape = json_array();
    for (uint32_t k = 0; k < rank; k++)
        json_array_append_new(shape, json_integer(dims[k]));
    json_object_set_new(o, "dtype", json_string(dtype));
    json_object_set_new(o, "shape", shape);
    json_int_t begin = (json_int_t)at, end = begin + (json_int_t)bytes;
    json_object_set_new(o, "data_offsets", json_pack("[I,I]", begin, end));
    json_object_set_new(root, name, o);
}

char *safetensors_header(Arena *a, const StoredTensor *t, uint32_t n, size_t *len, size_t *pads)
{
    json_t *root = json_object();
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        put_entry(root, t[i].name, names[t[i].dtype], t[i].dims, t[i].rank, at, t[i].bytes);
        at += t[i].bytes;
        pads[i] = i + 1 < n ? (64 - at % 64) % 64 : 0;
        int64_t pad = (int64_t)pads[i];
        if (pad)
            put_entry(root, arena_printf(a, "__pad%u", i), "U8", &pad, 1, at, pads[i]);
        at += pads[i];
    }
    char *json = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
    size_t text = json ? strlen(json) : 0, padded = (8 + text + 63) / 64 * 64;
    char *out = arena_alloc(a, padded + 1);
    for (int i = 0; i < 8; i++)
        out[i] = (char)((padded - 8) >> 8 * i & 0xff);
    memcpy(out + 8, json ? json : "", text);
    memset(out + 8 + text, ' ', padded - 8 - text);
    free(json);
    json_decref(root);
    *len = padded;
    return out;
}
