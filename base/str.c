/* base/str.c — interned strings, the string builder, and numbers as text. */
#include "base/str.h"
#include "base/map.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct { const char *text; size_t len; } StrKey;

struct StrPool {
    Arena       *arena;
    InternTable *table;            /* of StrKey */
};

static bool key_equal(const void *a, const void *b)
{
    const StrKey *x = a, *y = b;
    return x->len == y->len && memcmp(x->text, y->text, x->len) == 0;
}

StrPool *strpool_new(Arena *a)
{
    StrPool *p = arena_new_of(a, StrPool);
    p->arena = a;
    p->table = intern_new(a, key_equal);
    return p;
}

Str str_intern_n(StrPool *p, const char *s, size_t n)
{
    StrKey probe = {n ? s : "", n};
    uint64_t h = hash_bytes(probe.text, n, 0);
    const StrKey *k = intern_find(p->table, h, &probe);
    if (!k) {
        StrKey *fresh = arena_new_of(p->arena, StrKey);
        *fresh = (StrKey){arena_strndup(p->arena, probe.text, n), n};
        intern_add(p->table, h, fresh);
        k = fresh;
    }
    return k->text;
}

Str str_intern(StrPool *p, const char *s)
{
    return str_intern_n(p, s, strlen(s));
}

Str str_format(StrPool *p, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof small)
        return str_intern_n(p, small, (size_t)n);
    va_start(ap, fmt);
    Str s = str_intern(p, arena_vprintf(p->arena, fmt, ap));
    va_end(ap);
    return s;
}

StrBuf strbuf_new(Arena *a)
{
    return (StrBuf){a, NULL, 0, 0};
}

static void strbuf_reserve(StrBuf *b, size_t more)
{
    if (b->len + more + 1 <= b->cap)
        return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < b->len + more + 1)
        cap *= 2;
    char *text = arena_alloc(b->arena, cap);
    if (b->len)
        memcpy(text, b->text, b->len);
    b->text = text;
    b->cap = cap;
}

void strbuf_add_n(StrBuf *b, const char *s, size_t n)
{
    strbuf_reserve(b, n);
    if (n)
        memcpy(b->text + b->len, s, n);
    b->len += n;
    b->text[b->len] = '\0';
}

void strbuf_add(StrBuf *b, const char *s)
{
    strbuf_add_n(b, s, strlen(s));
}

void strbuf_char(StrBuf *b, char c)
{
    strbuf_add_n(b, &c, 1);
}

void strbuf_printf(StrBuf *b, const char *fmt, ...)
{
    va_list ap;
    strbuf_reserve(b, 0);
    va_start(ap, fmt);
    int n = vsnprintf(b->text + b->len, b->cap - b->len, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if (b->len + (size_t)n >= b->cap) {
        strbuf_reserve(b, (size_t)n);
        va_start(ap, fmt);
        vsnprintf(b->text + b->len, b->cap - b->len, fmt, ap);
        va_end(ap);
    }
    b->len += (size_t)n;
}

/* 15 digits are always exact in a double, so %.15g (which drops trailing zeros) is the shortest text when it reads back;
 * 17 always do. Subnormals have fewer bits: there every precision is tried. */
void strbuf_double(StrBuf *b, double v)
{
    if (isnan(v)) {
        strbuf_add(b, "nan");
        return;
    }
    if (isinf(v)) {
        strbuf_add(b, v < 0 ? "-inf" : "inf");
        return;
    }
    char text[40];
    for (int digits = fabs(v) < 2.3e-308 ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    strbuf_add(b, text);
}

enum { NEAREST_MAX = 64 };

/* Levenshtein distance, two rows; a length beyond NEAREST_MAX counts as far. */
static unsigned edit_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    if (na > NEAREST_MAX || nb > NEAREST_MAX)
        return NEAREST_MAX;
    unsigned row[NEAREST_MAX + 1];
    for (size_t j = 0; j <= nb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned best = diagonal + !same;
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

const char *str_nearest(const char *s, const char *const *names, size_t n)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)(strlen(s) + 2) / 3 + 1;      /* about a third of the letters may differ */
    for (size_t i = 0; i < n; i++) {
        unsigned d = edit_distance(s, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

bool str_to_i64(const char *s, int64_t *out)
{
    if (!s || !*s || isspace((unsigned char)*s))
        return false;
    const char *digits = s + (*s == '-' || *s == '+');
    int base = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, base);
    if (errno || *end || end == s)
        return false;
    *out = v;
    return true;
}

bool str_to_double(const char *s, double *out)
{
    if (!s || !*s || isspace((unsigned char)*s))
        return false;
    char *end;
    double v = strtod(s, &end);        /* out of range gives inf or a subnormal, which is what was meant */
    if (*end || end == s)
        return false;
    *out = v;
    return true;
}
