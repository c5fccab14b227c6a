/* cli/options.c — parses a command line by the rows of its option groups. `--name value`, `--name=value`, `-x value`, `-xvalue`,
 * flags may be joined (`-qv`), `--` ends the options, `-` alone is an argument. */
#include "cli/options.h"
#include <math.h>
#include <string.h>

CommandLine command_line(Arena *a, int argc, const char *const *argv)
{
    StrBuf text = strbuf_new(a);
    CommandLine line = {.words = arena_new_array(a, Arg, argc), .n = (uint32_t)argc};
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *slash = i ? NULL : strrchr(word, '/');
        if (i)
            strbuf_char(&text, ' ');
        size_t start = text.len;
        strbuf_add(&text, slash ? slash + 1 : word);
        line.words[i] = (Arg){word, {NULL, (uint32_t)start, (uint32_t)(text.len - start)}};
    }
    line.source = source_from_text(a, "<command line>", text.text ? text.text : "");
    for (uint32_t i = 0; i < line.n; i++)
        line.words[i].loc.source = line.source;
    return line;
}

uint32_t words_count(const char *words)
{
    uint32_t n = words && *words;
    for (const char *p = words; p && *p; p++)
        n += *p == '|';
    return n;
}

char *words_at(Arena *a, const char *words, uint32_t i)
{
    while (i--)
        words = strchr(words, '|') + 1;
    return arena_strndup(a, words, strcspn(words, "|"));
}

/* ---- one parse ------------------------------------------------------------------------------ */

typedef struct {
    Context *cx;
    const CommandLine *line;
    uint32_t at;
    const OptionGroup *const *groups;
    const char *command;
    Parsed *out;
} Parser;

static const Option *find(const Parser *p, char letter, const char *name, size_t len)
{
    for (const OptionGroup *const *g = p->groups; *g; g++)
        for (uint32_t i = 0; i < (*g)->n; i++) {
            const Option *o = &(*g)->rows[i];
            if (letter ? o->letter == letter
                       : strlen(o->name) == len && !memcmp(o->name, name, len))
                return o;
        }
    return NULL;
}

static void *field(const Parser *p, const Option *o) { return (char *)&p->out->o + o->field; }

static bool unknown_option(Parser *p, const char *shown, const char *name)
{
    Arena *a = p->cx->arena;
    Vec(const char *) names = {0};
    for (const OptionGroup *const *g = p->groups; *g; g++)
        for (uint32_t i = 0; i < (*g)->n; i++)
            vec_push(a, &names, (*g)->rows[i].name);
    const char *near = name ? str_nearest(name, names.data, names.n) : NULL;
    const char *hint = near ? arena_printf(a, "did you mean --%s?", near)
                            : arena_printf(a, "`pawl help %s` lists its options", p->command);
    return diag_error(p->cx->diags, PAWL_EXIT_INVALID, p->line->words[p->at].loc, hint,
                      "`pawl %s` has no option %s", p->command, shown);
}

static char *words_spoken(Arena *a, const char *words)
{
    char *text = arena_strdup(a, words);
    StrBuf b = strbuf_new(a);
    for (const char *p = text; *p; p++)
        *p == '|' ? strbuf_add(&b, ", ") : strbuf_char(&b, *p);
    return b.text;
}

/* The number of `word` among the words, or -1: diagnosed. */
static int word_number(Parser *p, const Option *o, const char *word, Loc loc)
{
    Arena *a = p->cx->arena;
    uint32_t n = words_count(o->value);
    const char **known = arena_new_array(a, const char *, n);
    for (uint32_t i = 0; i < n; i++) {
        known[i] = words_at(a, o->value, i);
        if (!strcmp(known[i], word))
            return (int)i;
    }
    const char *near = str_nearest(word, known, n);
    diag_error(p->cx->diags, PAWL_EXIT_INVALID, loc,
               near ? arena_printf(a, "did you mean %s?", near) : NULL, "--%s takes %s, not \"%s\"",
               o->name, words_spoken(a, o->value), word);
    return -1;
}

static bool set_words(Parser *p, const Option *o, const char *text, Loc loc)
{
    Texts *list = field(p, o);
    while (true) {
        size_t n = strcspn(text, ",");
        const char *word = arena_strndup(p->cx->arena, text, n);
        if (word_number(p, o, word, loc) < 0)
            return false;
        vec_push(p->cx->arena, list, word);
        if (!text[n])
            return true;
        text += n + 1;
    }
}

static bool out_of_range(Parser *p, const Option *o, const char *text, Loc loc)
{
    const char *range = isinf(o->hi) || o->hi >= 9e18
                            ? arena_printf(p->cx->arena, "at least %g", o->lo)
                            : arena_printf(p->cx->arena, "from %g to %g", o->lo, o->hi);
    return diag_error(p->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "--%s takes %s %s, not \"%s\"",
                      o->name, o->kind == OPT_INT ? "an integer" : "a number", range, text);
}

static bool set(Parser *p, const Option *o, const char *text, Loc loc)
{
    void *to = field(p, o);
    int64_t i;
    double d;
    switch (o->kind) {
    case OPT_FLAG: *(bool *)to = true; return true;
    case OPT_TEXT: *(const char **)to = text; return true;
    case OPT_INT:
        if (!str_to_i64(text, &i) || (double)i < o->lo || (double)i > o->hi)
            return out_of_range(p, o, text, loc);
        *(int64_t *)to = i;
        return true;
    case OPT_REAL:
        if (!str_to_double(text, &d) || !(d >= o->lo && d <= o->hi))
            return out_of_range(p, o, text, loc);
        *(double *)to = d;
        return true;
    case OPT_ENUM: {
        int number = word_number(p, o, text, loc);
        if (number >= 0)
            *(int *)to = number;
        return number >= 0;
    }
    case OPT_LIST: {
        Texts *list = to;
        vec_push(p->cx->arena, list, text);
        return true;
    }
    case OPT_WORDS: return set_words(p, o, text, loc);
    }
    return false;
}

/* The value after `o` stands in the next word; a word that begins with a dash is more likely a forgotten value. */
static bool set_from_next(Parser *p, const Option *o, const char *shown)
{
    Loc loc = p->line->words[p->at].loc;
    double number;
    const char *next = p->at + 1 < p->line->n ? p->line->words[p->at + 1].text : NULL;
    bool dash =
        next && next[0] == '-' && next[1] && !(str_to_double(next, &number) && !isnan(number));
    if (!next || dash)
        return diag_error(p->cx->diags, PAWL_EXIT_INVALID, loc,
                          dash ? arena_printf(p->cx->arena,
                                              "a value that begins with a dash: --%s=%s", o->name,
                                              next)
                               : NULL,
                          "%s needs a value: %s", shown, o->value);
    p->at++;
    return set(p, o, next, p->line->words[p->at].loc);
}

static bool parse_long(Parser *p, const Arg *word)
{
    const char *name = word->text + 2;
    size_t len = strcspn(name, "=");
    const char *shown = arena_printf(p->cx->arena, "--%.*s", (int)len, name);
    const Option *o = find(p, 0, name, len);
    if (!o)
        return unknown_option(p, shown, shown + 2);
    if (!name[len])
        return o->kind == OPT_FLAG ? set(p, o, NULL, word->loc) : set_from_next(p, o, shown);
    if (o->kind == OPT_FLAG)
        return diag_error(p->cx->diags, PAWL_EXIT_INVALID, word->loc, NULL, "%s takes no value",
                          shown);
    Loc loc = word->loc;
    loc.offset += (uint32_t)(2 + len + 1);
    loc.len -= (uint32_t)(2 + len + 1);
    return set(p, o, name + len + 1, loc);
}

static bool parse_short(Parser *p, const Arg *word)
{
    for (const char *s = word->text + 1; *s; s++) {
        const char *shown = arena_printf(p->cx->arena, "-%c", *s);
        const Option *o = find(p, *s, NULL, 0);
        if (!o)
            return unknown_option(p, shown, NULL);
        if (o->kind == OPT_FLAG) {
            if (!set(p, o, NULL, word->loc))
                return false;
            continue;
        }
        return s[1] ? set(p, o, s + 1, word->loc) : set_from_next(p, o, shown);
    }
    return true;
}

bool options_parse(Context *cx, const CommandLine *line, uint32_t first,
                   const OptionGroup *const *groups, const char *command, Parsed *out)
{
    Parser p = {cx, line, first, groups, command, out};
    bool ok = true, options = true;
    for (; p.at < line->n; p.at++) {
        const Arg *word = &line->words[p.at];
        if (!options || word->text[0] != '-' || !word->text[1])
            vec_push(cx->arena, &out->args, *word);
        else if (!strcmp(word->text, "--"))
            options = false;
        else if (!(word->text[1] == '-' ? parse_long(&p, word) : parse_short(&p, word)))
            ok = false;
    }
    return ok;
}
