/* base/str.h — interned strings (compare by pointer) and a string builder. */
#pragma once
#include "base/arena.h"
#include <stdbool.h>
#include <stdio.h>

typedef const char *Str;                 /* interned in a StrPool: equal text, equal pointer */
typedef struct StrPool StrPool;

StrPool *strpool_new(Arena *a);
Str      str_intern(StrPool *p, const char *s);
Str      str_intern_n(StrPool *p, const char *s, size_t n);
Str      str_format(StrPool *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Text under construction; `text` is always NUL-terminated after the first append. */
typedef struct { Arena *arena; char *text; size_t len, cap; } StrBuf;

StrBuf strbuf_new(Arena *a);
void   strbuf_add(StrBuf *b, const char *s);
void   strbuf_add_n(StrBuf *b, const char *s, size_t n);
void   strbuf_char(StrBuf *b, char c);
void   strbuf_printf(StrBuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Shortest decimal text that reads back as the same double ("0.1", "1e-06", "inf", "nan"). */
void   strbuf_double(StrBuf *b, double v);

/* The entry of `names` nearest to `s` by edit distance, or NULL when none is near: for "did you mean". */
const char *str_nearest(const char *s, const char *const *names, size_t n);
bool   str_to_i64(const char *s, int64_t *out);      /* whole string, range checked */
bool   str_to_double(const char *s, double *out);    /* whole string; inf, nan, hex floats allowed */
