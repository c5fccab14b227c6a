/* codegen/schedule.c — schedules: short lists of named values with a text form. */
#include "codegen/codegen.h"

#include <string.h>

static int find_key(const Schedule *s, const char *key)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (!strcmp(s->v[i].key, key))
            return (int)i;
    return -1;
}

void schedule_set(Schedule *s, const char *key, int64_t value)
{
    int i = find_key(s, key);
    if (i < 0) {
        pawl_assert(s->n < SCHEDULE_MAX, "schedule has no room for %s", key);
        i = (int)s->n++;
        s->v[i].key = key;
    }
    s->v[i].value = value;
}

int64_t schedule_get(const Schedule *s, const char *key, int64_t otherwise)
{
    int i = find_key(s, key);
    return i < 0 ? otherwise : s->v[i].value;
}

void schedule_print(StrBuf *b, const Schedule *s)
{
    strbuf_add(b, s->kind ? s->kind : "none");
    for (uint32_t i = 0; i < s->n; i++)
        strbuf_printf(b, " %s=%lld", s->v[i].key, (long long)s->v[i].value);
}

bool schedule_parse(StrPool *p, const char *text, Schedule *out)
{
    size_t kind = strcspn(text, " =");
    if (!kind || text[kind] == '=')
        return false;
    *out = (Schedule){.kind = str_intern_n(p, text, kind)};
    text += kind;
    while (*text == ' ')
        text++;
    while (*text) {
        size_t key = strcspn(text, "= ");
        if (!key || text[key] != '=' || out->n == SCHEDULE_MAX)
            return false;
        char digits[24];
        const char *value = text + key + 1;
        size_t len = strcspn(value, " ");
        if (!len || len >= sizeof digits)
            return false;
        memcpy(digits, value, len);
        digits[len] = 0;
        int64_t v;
        if (!str_to_i64(digits, &v))
            return false;
        schedule_set(out, str_intern_n(p, text, key), v);
        text = value + len;
        while (*text == ' ')
            text++;
    }
    return true;
}

bool schedule_equal(const Schedule *a, const Schedule *b)
{
    if (a->n != b->n || !a->kind != !b->kind || (a->kind && strcmp(a->kind, b->kind)))
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        int j = find_key(b, a->v[i].key);
        if (j < 0 || b->v[j].value != a->v[i].value)
            return false;
    }
    return true;
}
