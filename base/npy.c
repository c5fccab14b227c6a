/* base/npy.c — the format of NumPy's lib/format.py: magic, version, length of the header, a Python dict literal
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 * and the elements. Files are mapped and come from anywhere: every length is checked against what is there. */
#include "base/npy.h"
#include "base/file.h"
#include <ctype.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";
enum { MAGIC = 6, ALIGNMENT = 64 };

typedef struct { const char *descr; DType t; } Descr;

/* The first row of a type is what npy_write uses. */
static const Descr descrs[] = {
    {"<f8", DT_F64}, {"<f4", DT_F32}, {"<f2", DT_F16}, {"<V2", DT_BF16}, {"<i8", DT_I64}, {"<i4", DT_I32},
    {"|i1", DT_I8}, {"|u1", DT_U8}, {"|b1", DT_BOOL},
    {"=f8", DT_F64}, {"=f4", DT_F32}, {"=f2", DT_F16}, {"=i8", DT_I64}, {"=i4", DT_I32},
    {"|V2", DT_BF16}, {"bfloat16", DT_BF16}, {"<i1", DT_I8}, {"<u1", DT_U8}, {"<b1", DT_BOOL}, {"?", DT_BOOL},
};

/* ---- reading ---- */

typedef struct {
    Diags      *diags;
    const char *path;
    const char *at, *end;          /* what is left of the header */
    bool        seen_descr, seen_order, seen_shape;
    bool        fortran;
    Tensor      shape;             /* dtype, rank and dims */
} Header;

static bool bad(const Header *h, const char *what)
{
    return diag_error(h->diags, PAWL_EXIT_INVALID, LOC_NONE, "the file must be what numpy.save writes",
                      "%s: not a valid .npy file: %s", h->path, what);
}

static void skip_space(Header *h)
{
    while (h->at < h->end && isspace((unsigned char)*h->at))
        h->at++;
}

static bool accept(Header *h, char c)
{
    skip_space(h);
    if (h->at == h->end || *h->at != c)
        return false;
    h->at++;
    return true;
}

static bool accept_word(Header *h, const char *word)
{
    size_t n = strlen(word);
    skip_space(h);
    if ((size_t)(h->end - h->at) < n || memcmp(h->at, word, n) != 0)
        return false;
    h->at += n;
    return true;
}

static bool parse_string(Header *h, char *out, size_t size)
{
    skip_space(h);
    if (h->at == h->end || (*h->at != '\'' && *h->at != '"'))
        return false;
    char quote = *h->at++;
    size_t n = 0;
    while (h->at < h->end && *h->at != quote && n + 1 < size)
        out[n++] = *h->at++;
    out[n] = '\0';
    return accept(h, quote);
}

static bool parse_descr(Header *h)
{
    char text[32];
    if (!parse_string(h, text, sizeof text))
        return bad(h, "'descr' is not a short string (structured types are not supported)");
    for (size_t i = 0; i < sizeof descrs / sizeof *descrs; i++)
        if (strcmp(descrs[i].descr, text) == 0) {
            h->shape.dtype = descrs[i].t;
            return true;
        }
    for (char *c = text; *c; c++)
        if (!isprint((unsigned char)*c))
            *c = '.';
    const char *hint = text[0] == '>' ? "convert with array.astype(array.dtype.newbyteorder('<'))" : NULL;
    return diag_error(h->diags, PAWL_EXIT_INVALID, LOC_NONE, hint, "%s: element type '%s' is not supported", h->path, text);
}

static bool parse_dim(Header *h, int64_t *out)
{
    int64_t v = 0;
    skip_space(h);
    if (h->at == h->end || !isdigit((unsigned char)*h->at))
        return bad(h, "a dimension of 'shape' is not a number");
    for (; h->at < h->end && isdigit((unsigned char)*h->at); h->at++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *h->at - '0', &v))
            return bad(h, "a dimension of 'shape' is absurdly large");
    accept(h, 'L');                /* Python 2 */
    *out = v;
    return true;
}

static bool parse_shape(Header *h)
{
    if (!accept(h, '('))
        return bad(h, "'shape' is not a tuple");
    while (!accept(h, ')')) {
        if (h->shape.rank == TENSOR_MAX_RANK)
            return diag_error(h->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s: more than %d dimensions", h->path,
                              TENSOR_MAX_RANK);
        if (!parse_dim(h, &h->shape.dims[h->shape.rank++]))
            return false;
        if (!accept(h, ',')) {
            if (!accept(h, ')'))
                return bad(h, "'shape' is not closed");
            break;
        }
    }
    return true;
}

static bool parse_entry(Header *h)
{
    char key[32];
    if (!parse_string(h, key, sizeof key) || !accept(h, ':'))
        return bad(h, "the header is not a dict");
    if (strcmp(key, "descr") == 0 && !h->seen_descr)
        return (h->seen_descr = true) && parse_descr(h);
    if (strcmp(key, "shape") == 0 && !h->seen_shape)
        return (h->seen_shape = true) && parse_shape(h);
    if (strcmp(key, "fortran_order") == 0 && !h->seen_order) {
        h->seen_order = true;
        h->fortran = accept_word(h, "True");
        return h->fortran || accept_word(h, "False") || bad(h, "'fortran_order' is neither True nor False");
    }
    return bad(h, "unexpected key in the header");
}

static bool parse_header(Header *h)
{
    if (!accept(h, '{'))
        return bad(h, "the header is not a dict");
    while (!accept(h, '}')) {
        if (!parse_entry(h))
            return false;
        if (!accept(h, ',')) {
            if (!accept(h, '}'))
                return bad(h, "the header's dict is not closed");
            break;
        }
    }
    skip_space(h);
    if (h->at != h->end)
        return bad(h, "text after the header's dict");
    return (h->seen_descr && h->seen_order && h->seen_shape) || bad(h, "the header lacks 'descr', 'fortran_order' or 'shape'");
}

/* Finds the header's text and where the elements start. */
static bool find_header(Header *h, const FileMap *m, size_t *data)
{
    const unsigned char *p = m->data;
    if (m->len < MAGIC + 4 || memcmp(p, magic, MAGIC) != 0)
        return bad(h, m->len < MAGIC + 4 ? "too short" : "wrong magic bytes");
    unsigned major = p[MAGIC];
    if (major < 1 || major > 3)
        return bad(h, "unknown version");
    size_t start = major == 1 ? MAGIC + 4 : MAGIC + 6;
    if (m->len < start)
        return bad(h, "too short");
    size_t len = p[8] | (size_t)p[9] << 8;
    if (major > 1)
        len |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (len > m->len - start)
        return bad(h, "the header is cut off");
    h->at = (const char *)p + start;
    h->end = h->at + len;
    *data = start + len;
    return true;
}

/* Bytes of the elements; false: does not fit 64 bits. Zero-sized dims hide no overflow: each factor is checked. */
static bool size_of(const Tensor *t, size_t *bytes)
{
    int64_t n = dtype_bytes(t->dtype);
    bool empty = false;
    for (int i = 0; i < t->rank; i++) {
        empty |= t->dims[i] == 0;
        if (t->dims[i] && __builtin_mul_overflow(n, t->dims[i], &n))
            return false;
    }
    *bytes = empty ? 0 : (size_t)n;
    return n <= INT64_MAX / 2;
}

static void copy_fortran(Tensor *t, const char *src)
{
    int64_t index[TENSOR_MAX_RANK] = {0}, stride[TENSOR_MAX_RANK], from = 0, n = tensor_count(t);
    size_t size = dtype_bytes(t->dtype);
    for (int i = 0; i < t->rank; i++)
        stride[i] = i ? stride[i - 1] * t->dims[i - 1] : 1;
    for (int64_t to = 0; to < n; to++) {
        memcpy((char *)t->data + (size_t)to * size, src + (size_t)from * size, size);
        for (int i = t->rank - 1; i >= 0; i--) {
            from += stride[i];
            if (++index[i] < t->dims[i])
                break;
            from -= stride[i] * t->dims[i];
            index[i] = 0;
        }
    }
}

static Tensor *read_mapped(Arena *a, Header *h, const FileMap *m)
{
    size_t data = 0, bytes = 0;
    if (!find_header(h, m, &data) || !parse_header(h))
        return NULL;
    if (!size_of(&h->shape, &bytes)) {
        bad(h, "'shape' is absurdly large");
        return NULL;
    }
    if (bytes > m->len - data) {
        diag_error(h->diags, PAWL_EXIT_INVALID, LOC_NONE, "the file was cut off; write it again",
                   "%s: %zu bytes of elements, but the shape needs %zu", h->path, m->len - data, bytes);
        return NULL;
    }
    Tensor *t = tensor_new(a, h->shape.dtype, h->shape.rank, h->shape.dims);
    const char *src = (const char *)m->data + data;
    if (h->fortran && t->rank > 1)
        copy_fortran(t, src);
    else if (bytes)
        memcpy(t->data, src, bytes);
    if (t->dtype == DT_BOOL)
        for (size_t i = 0; i < bytes; i++)
            ((uint8_t *)t->data)[i] = ((uint8_t *)t->data)[i] != 0;
    return t;
}

Tensor *npy_read(Arena *a, Diags *d, const char *path)
{
    FileMap m;
    if (!file_map(d, path, &m))
        return NULL;
    Header h = {.diags = d, .path = path};
    Tensor *t = read_mapped(a, &h, &m);
    file_unmap(&m);
    return t;
}

/* ---- writing ---- */

static const char *descr_of(DType t)
{
    for (size_t i = 0; i < sizeof descrs / sizeof *descrs; i++)
        if (descrs[i].t == t)
            return descrs[i].descr;
    return "|V0";
}

/* Version 1, padded with spaces so that the elements are aligned; at most 8 dims always fit. */
static StrBuf make_header(Arena *a, const Tensor *t)
{
    StrBuf b = strbuf_new(a);
    strbuf_add_n(&b, magic, MAGIC);
    strbuf_add_n(&b, "\1\0\0\0", 4);
    strbuf_printf(&b, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr_of(t->dtype));
    for (int i = 0; i < t->rank; i++)
        strbuf_printf(&b, "%s%lld", i ? ", " : "", (long long)t->dims[i]);
    strbuf_add(&b, t->rank == 1 ? ",), }" : "), }");
    while ((b.len + 1) % ALIGNMENT)
        strbuf_char(&b, ' ');
    strbuf_char(&b, '\n');
    size_t len = b.len - MAGIC - 4;
    b.text[8] = (char)(len & 0xff);
    b.text[9] = (char)(len >> 8);
    return b;
}

bool npy_write(Diags *d, const char *path, const Tensor *t)
{
    Arena *scratch = arena_new();
    StrBuf h = make_header(scratch, t);
    bool good = file_write_parts(d, path, (FilePart[]){{h.text, h.len}, {t->data, tensor_bytes(t)}}, 2);
    arena_free(scratch);
    return good;
}
