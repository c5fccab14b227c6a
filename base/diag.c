/* base/diag.c — located diagnostics, and the end of the process when one of our own invariants fails.
 *
 * Columns count code points, from 1. A Source that is a block of another file prints the block's line (without the
 * stripped indentation) under the file's line and column. */
#include "base/diag.h"
#include "base/file.h"
#include "base/vec.h"
#include <stdlib.h>
#include <unistd.h>

struct Diags {
    Arena *arena;
    Vec(Diag) list;
};

Diags *diags_new(Arena *a)
{
    Diags *d = arena_new_of(a, Diags);
    d->arena = a;
    return d;
}

static void diag_add(Diags *d, Diag x)
{
    vec_push(d->arena, &d->list, x);
}

bool (diag_error)(Diags *d, ExitCode code, Loc loc, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *text = arena_vprintf(d->arena, fmt, ap);
    va_end(ap);
    diag_add(d, (Diag){DIAG_ERROR, code, loc, text, hint ? arena_strdup(d->arena, hint) : NULL});
    return false;
}

void diag_warn(Diags *d, Loc loc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    diag_add(d, (Diag){DIAG_WARNING, PAWL_EXIT_OK, loc, arena_vprintf(d->arena, fmt, ap), NULL});
    va_end(ap);
}

void diag_note(Diags *d, Loc loc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    diag_add(d, (Diag){DIAG_NOTE, PAWL_EXIT_OK, loc, arena_vprintf(d->arena, fmt, ap), NULL});
    va_end(ap);
}

uint32_t diags_count(const Diags *d)
{
    return d->list.n;
}

const Diag *diags_at(const Diags *d, uint32_t i)
{
    return &d->list.data[i];
}

ExitCode diags_exit_code(const Diags *d)
{
    for (uint32_t i = 0; i < d->list.n; i++)
        if (d->list.data[i].level == DIAG_ERROR)
            return d->list.data[i].code;
    return PAWL_EXIT_OK;
}

bool diags_failed(const Diags *d)
{
    for (uint32_t i = 0; i < d->list.n; i++)
        if (d->list.data[i].level == DIAG_ERROR)
            return true;
    return false;
}

void diags_clear(Diags *d)
{
    d->list.n = 0;
}

void diags_append(Diags *to, const Diags *from)
{
    for (uint32_t i = 0; i < from->list.n; i++) {
        Diag x = from->list.data[i];
        x.text = arena_strdup(to->arena, x.text);
        x.hint = x.hint ? arena_strdup(to->arena, x.hint) : NULL;
        diag_add(to, x);
    }
}

static bool continues_utf8(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static uint32_t code_points(const char *s, size_t n)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += !continues_utf8(s[i]);
    return count;
}

/* The line of the source that holds `offset`: its first byte and its length without the newline. */
typedef struct { const char *text; size_t len, offset; uint32_t number; } Line;

static Line line_of(Loc loc)
{
    const Source *s = loc.source;
    size_t at = loc.offset < s->len ? loc.offset : s->len;
    Line l = {s->text, 0, at, 0};
    for (size_t i = 0; i < at; i++)
        if (s->text[i] == '\n') {
            l.number++;
            l.text = s->text + i + 1;
            l.offset = at - i - 1;
        }
    size_t left = s->len - (size_t)(l.text - s->text);
    const char *end = memchr(l.text, '\n', left);
    l.len = end ? (size_t)(end - l.text) : left;
    if (l.len && l.text[l.len - 1] == '\r')
        l.len--;
    return l;
}

void loc_line_col(Loc loc, uint32_t *line, uint32_t *col)
{
    *line = *col = 0;
    if (!loc.source)
        return;
    Line l = line_of(loc);
    uint32_t c = code_points(l.text, l.offset);
    *line = loc.source->first_line + l.number;
    *col = c + (l.number == 0 ? loc.source->first_col : loc.source->line_indent + 1);
}

typedef struct { const char *place, *level[3], *caret, *off; } Palette;

static const Palette plain = {"", {"", "", ""}, "", ""};
static const Palette coloured = {
    "\033[1m", {"\033[1;31m", "\033[1;35m", "\033[1;36m"}, "\033[1;32m", "\033[0m"
};
static const char *const level_names[] = {
    [DIAG_ERROR] = "error", [DIAG_WARNING] = "warning", [DIAG_NOTE] = "note"
};

/* The line, and below it a caret under the place with a tilde for each further character. Tabs are repeated in the
 * second line, so that the caret stands right whatever the terminal makes of them. */
static void format_line(StrBuf *b, Loc loc, const Palette *c)
{
    Line l = line_of(loc);
    if (!l.len)
        return;
    strbuf_printf(b, "    %.*s\n    ", (int)l.len, l.text);
    size_t at = l.offset < l.len ? l.offset : l.len;
    for (size_t i = 0; i < at; i++)
        if (!continues_utf8(l.text[i]))
            strbuf_char(b, l.text[i] == '\t' ? '\t' : ' ');
    size_t end = at + loc.len < l.len ? at + loc.len : l.len;
    strbuf_printf(b, "%s^", c->caret);
    uint32_t width = code_points(l.text + at, end - at);
    for (uint32_t i = 1; i < width; i++)
        strbuf_char(b, '~');
    strbuf_printf(b, "%s\n", c->off);
}

static void format_diag(StrBuf *b, const Diag *d, const Palette *c)
{
    if (d->loc.source) {
        uint32_t line, col;
        loc_line_col(d->loc, &line, &col);
        strbuf_printf(b, "%s%s:%u:%u:%s ", c->place, d->loc.source->name, line, col, c->off);
    } else {
        strbuf_printf(b, "%spawl:%s ", c->place, c->off);
    }
    strbuf_printf(b, "%s%s:%s %s\n", c->level[d->level], level_names[d->level], c->off, d->text);
    if (d->loc.source)
        format_line(b, d->loc, c);
    if (d->hint)
        strbuf_printf(b, "    hint: %s\n", d->hint);
}

void diags_print(const Diags *d, FILE *to, bool colour)
{
    Arena *a = arena_new();
    StrBuf b = strbuf_new(a);
    for (uint32_t i = 0; i < d->list.n; i++)
        format_diag(&b, &d->list.data[i], colour ? &coloured : &plain);
    fwrite(b.text ? b.text : "", 1, b.len, to);
    arena_free(a);
}

char *diag_format(Arena *a, const Diag *d)
{
    StrBuf b = strbuf_new(a);
    format_diag(&b, d, &plain);
    return b.text;
}

static Source *source_new(Arena *a, const char *name, const char *text, size_t len)
{
    Source *s = arena_new_of(a, Source);
    *s = (Source){arena_strdup(a, name), text, len, 1, 1, 0};
    return s;
}

Source *source_from_file(Arena *a, Diags *d, const char *path)
{
    size_t len;
    const char *text = file_read(a, d, path, &len);
    if (!text)
        return NULL;
    if (len >= UINT32_MAX) {
        diag_error(d, PAWL_EXIT_IO, LOC_NONE, NULL, "%s: too large for a text file (%zu bytes)", path, len);
        return NULL;
    }
    return source_new(a, path, text, len);
}

Source *source_from_text(Arena *a, const char *name, const char *text)
{
    size_t len = strlen(text);
    return source_new(a, name, arena_strndup(a, text, len), len);
}

/* Thread-local, because every thread compiles something else and each has its own reproducer. */
static _Thread_local void (*reproducer)(void *);
static _Thread_local void *reproducer_arg;

void pawl_on_assert(void (*write_reproducer)(void *), void *arg)
{
    reproducer = write_reproducer;
    reproducer_arg = arg;
}

void pawl_assert_failed(const char *cond, const char *file, int line, const char *fmt, ...)
{
    fflush(stdout);
    fprintf(stderr, "pawl: internal error: %s:%d: %s", file, line, cond);
    if (fmt[1]) {                  /* pawl_assert puts a space before the format: "" alone is a warning in gcc */
        va_list ap;
        va_start(ap, fmt);
        fputc(':', stderr);
        vfprintf(stderr, fmt, ap);
        va_end(ap);
    }
    fputc('\n', stderr);
    void (*write)(void *) = reproducer;
    reproducer = NULL;             /* an assertion inside the writer must not come back here */
    if (write)
        write(reproducer_arg);
    fflush(stderr);
    _exit(PAWL_EXIT_INTERNAL);     /* other threads are still running: no atexit handlers under their feet */
}
