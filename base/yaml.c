/* base/yaml.c — libyaml's events into a tree, with an explicit stack.
 *
 * libyaml's marks count code points; a cursor that only moves forward turns them into byte offsets. A literal block scalar
 * becomes a Source of its own: its k-th line is the k-th line after the `|`, less the indentation, which is found by
 * comparing the first line that is not empty with the file's. */
#include "base/yaml.h"
#include "base/map.h"
#include "base/vec.h"
#include <yaml.h>

enum { DEEPEST = 200 };            /* libyaml takes quadratic time on deep nests */

typedef Vec(YamlNode *) NodeList;

/* A collection under construction. */
typedef struct Frame {
    struct Frame *outer;
    YamlNode *node;
    NodeList  keys, items;
    Map      *seen;                /* hash of a key → its index + 1 */
    YamlNode *key;                 /* waits for its value */
} Frame;

typedef struct {
    Arena        *arena;
    Diags        *diags;
    const Source *source;
    yaml_parser_t parser;
    size_t        cursor_index, cursor_byte;
    Frame        *top;
    YamlNode     *root;
    uint32_t      documents, depth;
} Builder;

/* ---- places ---- */

static size_t byte_of(Builder *b, size_t index)
{
    const Source *s = b->source;
    if (index < b->cursor_index)
        b->cursor_index = b->cursor_byte = 0;
    while (b->cursor_index < index && b->cursor_byte < s->len) {
        b->cursor_byte++;
        while (b->cursor_byte < s->len && ((unsigned char)s->text[b->cursor_byte] & 0xc0) == 0x80)
            b->cursor_byte++;
        b->cursor_index++;
    }
    return b->cursor_byte;
}

static Loc loc_of(Builder *b, const yaml_event_t *e)
{
    size_t start = byte_of(b, e->start_mark.index), end = start + 1;
    if (e->type == YAML_SCALAR_EVENT && e->start_mark.line == e->end_mark.line)
        end = byte_of(b, e->end_mark.index);
    return loc_at(b->source, start, end > start ? end - start : 1);
}

static const char *next_line(const char *p, const char *end)
{
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    return newline ? newline + 1 : end;
}

static size_t line_length(const char *p, const char *end)
{
    size_t n = (size_t)(next_line(p, end) - p);
    while (n && (p[n - 1] == '\n' || p[n - 1] == '\r'))
        n--;
    return n;
}

static uint32_t indent_of(const Source *file, const char *raw, const char *text, size_t len)
{
    const char *raw_end = file->text + file->len, *end = text + len;
    while (text < end && raw < raw_end) {
        size_t n = line_length(text, end), n_raw = line_length(raw, raw_end);
        if (n)
            return n_raw > n ? (uint32_t)(n_raw - n) : 0;
        text = next_line(text, end);
        raw = next_line(raw, raw_end);
    }
    return 0;
}

static const Source *block_of(Builder *b, Loc bar, const char *text, size_t len)
{
    const Source *file = b->source;
    const char *raw = next_line(file->text + bar.offset, file->text + file->len);
    uint32_t line, col, indent = indent_of(file, raw, text, len);
    loc_line_col(bar, &line, &col);
    Source *s = arena_new_of(b->arena, Source);
    uint32_t outer = file->line_indent;
    *s = (Source){file->name, text, len, line + 1, outer + indent + 1, outer + indent};
    return s;
}

/* ---- building ---- */

static bool refuse(Builder *b, Loc loc, const char *hint, const char *text)
{
    return diag_error(b->diags, PAWL_EXIT_INVALID, loc, hint, "%s", text);
}

static bool add_key(Builder *b, YamlNode *n)
{
    Frame *f = b->top;
    if (n->kind != YAML_SCALAR)
        return refuse(b, n->loc, NULL, "a key must be a plain word or a string");
    uint64_t hash = hash_str(n->text), at = map_get(f->seen, hash, 0);
    if (at && strcmp(f->keys.data[at - 1]->text, n->text) == 0) {
        diag_error(b->diags, PAWL_EXIT_INVALID, n->loc, NULL, "duplicate key '%s'", n->text);
        diag_note(b->diags, f->keys.data[at - 1]->loc, "it was first given here");
        return false;
    }
    vec_push(b->arena, &f->keys, n);
    map_set(f->seen, hash, f->keys.n);
    f->key = n;
    return true;
}

static bool place(Builder *b, YamlNode *n)
{
    Frame *f = b->top;
    if (!f) {
        b->root = n;
        return true;
    }
    if (f->node->kind == YAML_MAPPING && !f->key)
        return add_key(b, n);
    vec_push(b->arena, &f->items, n);
    f->key = NULL;
    return true;
}

static YamlNode *node_new(Builder *b, YamlKind kind, const yaml_event_t *e)
{
    YamlNode *n = arena_new_of(b->arena, YamlNode);
    n->kind = kind;
    n->loc = loc_of(b, e);
    n->text = "";
    return n;
}

static bool check_plain(Builder *b, const yaml_event_t *e, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return refuse(b, loc_of(b, e), "write the value out", "anchors and aliases are not supported");
    if (tag)
        return refuse(b, loc_of(b, e), "remove the tag; quote the text if it starts with '!'", "tags are not supported");
    return true;
}

static bool on_scalar(Builder *b, const yaml_event_t *e)
{
    const char *value = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    if (!check_plain(b, e, e->data.scalar.anchor, e->data.scalar.tag))
        return false;
    YamlNode *n = node_new(b, YAML_SCALAR, e);
    if (memchr(value, '\0', len))
        return refuse(b, n->loc, NULL, "a string must not contain a NUL character");
    n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    bool null = !n->quoted && (strcmp(value, "~") == 0 || strcmp(value, "null") == 0);
    n->text = null ? "" : arena_strndup(b->arena, value, len);
    if (e->data.scalar.style == YAML_LITERAL_SCALAR_STYLE)
        n->block = block_of(b, n->loc, n->text, len);
    return place(b, n);
}

static bool on_start(Builder *b, const yaml_event_t *e, YamlKind kind)
{
    bool map = kind == YAML_MAPPING;
    if (!check_plain(b, e, map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor,
                     map ? e->data.mapping_start.tag : e->data.sequence_start.tag))
        return false;
    if (b->depth++ == DEEPEST)
        return refuse(b, loc_of(b, e), NULL, "nested too deeply");
    Frame *f = arena_new_of(b->arena, Frame);
    f->node = node_new(b, kind, e);
    f->seen = map ? map_new(b->arena) : NULL;
    if (!place(b, f->node))
        return false;
    f->outer = b->top;
    b->top = f;
    return true;
}

static void on_end(Builder *b)
{
    Frame *f = b->top;
    f->node->items = f->items.data;
    f->node->keys = f->keys.data;
    f->node->n = f->items.n;
    b->top = f->outer;
    b->depth--;
}

static bool on_event(Builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:         return on_scalar(b, e);
    case YAML_SEQUENCE_START_EVENT: return on_start(b, e, YAML_SEQUENCE);
    case YAML_MAPPING_START_EVENT:  return on_start(b, e, YAML_MAPPING);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:    on_end(b); return true;
    case YAML_ALIAS_EVENT:          return check_plain(b, e, e->data.alias.anchor, NULL);
    case YAML_DOCUMENT_START_EVENT:
        if (b->documents++)
            return refuse(b, loc_of(b, e), "put each document into its own file", "several documents in one file");
        return true;
    case YAML_NO_EVENT: case YAML_STREAM_START_EVENT: case YAML_STREAM_END_EVENT: case YAML_DOCUMENT_END_EVENT: break;
    }
    return true;
}

static bool parser_failed(Builder *b)
{
    const yaml_parser_t *p = &b->parser;
    const char *problem = p->problem ? p->problem : "unreadable";
    if (p->error == YAML_READER_ERROR) {
        size_t at = p->problem_offset < b->source->len ? p->problem_offset : b->source->len;
        return diag_error(b->diags, PAWL_EXIT_INVALID, loc_at(b->source, at, 1), "the file must be UTF-8 text",
                          "%s", problem);
    }
    Loc loc = loc_at(b->source, byte_of(b, p->problem_mark.index), 1);
    diag_error(b->diags, PAWL_EXIT_INVALID, loc, NULL, "%s", problem);
    if (p->context)
        diag_note(b->diags, loc_at(b->source, byte_of(b, p->context_mark.index), 1), "%s", p->context);
    return false;
}

static bool run(Builder *b)
{
    for (;;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&b->parser, &e))
            return parser_failed(b);
        bool done = e.type == YAML_STREAM_END_EVENT, good = on_event(b, &e);
        yaml_event_delete(&e);
        if (!good || done)
            return good;
    }
}

YamlNode *yaml_parse(Arena *a, Diags *d, const Source *s)
{
    Builder b = {.arena = a, .diags = d, .source = s};
    if (!yaml_parser_initialize(&b.parser)) {
        diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)s->text, s->len);
    bool good = run(&b);
    yaml_parser_delete(&b.parser);
    if (good && !b.root)
        refuse(&b, loc_at(s, 0, 1), NULL, "the document is empty");
    return good ? b.root : NULL;
}

/* ---- reading ---- */

YamlNode *yaml_get(const YamlNode *map, const char *key)
{
    if (!map || map->kind != YAML_MAPPING)
        return NULL;
    for (uint32_t i = 0; i < map->n; i++)
        if (strcmp(map->keys[i]->text, key) == 0)
            return map->items[i];
    return NULL;
}

static const char *known_keys(Arena *a, const char *const *known, size_t n)
{
    StrBuf b = strbuf_new(a);
    strbuf_add(&b, "known keys: ");
    for (size_t i = 0; i < n; i++)
        strbuf_printf(&b, "%s%s", i ? ", " : "", known[i]);
    return b.text;
}

static bool check_key(Diags *d, const YamlNode *key, const char *const *known, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(known[i], key->text) == 0)
            return true;
    Arena *scratch = arena_new();
    const char *near = str_nearest(key->text, known, n);
    const char *hint = near ? arena_printf(scratch, "did you mean '%s'?", near) : known_keys(scratch, known, n);
    diag_error(d, PAWL_EXIT_INVALID, key->loc, hint, "unknown key '%s' in %s", key->text, what);
    arena_free(scratch);
    return false;
}

bool yaml_check_keys(Diags *d, const YamlNode *map, const char *const *known, size_t n_known, const char *what)
{
    if (!map || map->kind != YAML_MAPPING)
        return diag_error(d, PAWL_EXIT_INVALID, map ? map->loc : LOC_NONE, "write `key: value` lines",
                          "%s must be a mapping", what);
    bool good = true;
    for (uint32_t i = 0; i < map->n; i++)
        good &= check_key(d, map->keys[i], known, n_known, what);
    return good;
}

static bool check_scalar(Diags *d, const YamlNode *n, const char *what, const char *type)
{
    if (!n)
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s is missing", what);
    if (n->kind != YAML_SCALAR)
        return diag_error(d, PAWL_EXIT_INVALID, n->loc, NULL, "%s must be %s, not a %s", what, type,
                          n->kind == YAML_MAPPING ? "mapping" : "sequence");
    return true;
}

bool yaml_i64(Diags *d, const YamlNode *n, int64_t *out, const char *what)
{
    if (!check_scalar(d, n, what, "an integer"))
        return false;
    return (!n->quoted && str_to_i64(n->text, out))
        || diag_error(d, PAWL_EXIT_INVALID, n->loc, n->quoted ? "remove the quotes" : NULL,
                      "%s must be an integer, not '%s'", what, n->text);
}

bool yaml_double(Diags *d, const YamlNode *n, double *out, const char *what)
{
    if (!check_scalar(d, n, what, "a number"))
        return false;
    const char *s = n->text;       /* YAML writes .inf and .nan */
    bool minus = *s == '-';
    const char *special = s + minus;
    if (strcmp(special, ".inf") == 0 || strcmp(special, ".nan") == 0)
        s = special[1] == 'n' ? "nan" : minus ? "-inf" : "inf";
    return (!n->quoted && str_to_double(s, out))
        || diag_error(d, PAWL_EXIT_INVALID, n->loc, n->quoted ? "remove the quotes" : NULL,
                      "%s must be a number, not '%s'", what, n->text);
}

bool yaml_string(Diags *d, const YamlNode *n, const char **out, const char *what)
{
    if (!check_scalar(d, n, what, "a string"))
        return false;
    *out = n->text;
    return true;
}
