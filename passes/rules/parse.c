/* passes/rules/parse.c — rule files: YAML, one rule or a list of rules a file. Files of a folder are read in the order of their
 * paths, which is the order in which rules are tried. */
#include "base/file.h"
#include "base/yaml.h"
#include "passes/rules/rule.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool rules_parse_source(Context *cx, const Source *s, RuleList *out)
{
    YamlNode *y = yaml_parse(cx->arena, cx->diags, s);
    bool list = y && y->kind == YAML_SEQUENCE, ok = y != NULL;

    for (uint32_t i = 0; y && i < (list ? y->n : 1); i++) {
        Rule *r;
        if (rule_compile(cx, list ? y->items[i] : y, &r))
            vec_push(cx->arena, out, r);
        else
            ok = false;                                        /* go on: report every bad rule at once */
    }
    return ok;
}

bool rules_parse_file(Context *cx, const char *path, RuleList *out)
{
    const Source *s = source_from_file(cx->arena, cx->diags, path);
    return s && rules_parse_source(cx, s, out);
}

typedef Vec(char *) Paths;

static int by_path(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool is_rule_file(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".yaml") == 0;
}

/* Folders are a worklist; `discoveries` holds what was promoted from, not rules. */
static bool collect(Context *cx, const char *dir, Paths *files)
{
    Paths folders = {0};

    vec_push(cx->arena, &folders, arena_strdup(cx->arena, dir));
    for (uint32_t i = 0; i < folders.n; i++) {
        DIR *d = opendir(folders.data[i]);
        if (!d)
            return diag_error(cx->diags, PAWL_EXIT_IO, LOC_NONE, NULL, "cannot read the folder %s", folders.data[i]);
        for (struct dirent *e; (e = readdir(d)); ) {
            struct stat st;
            if (e->d_name[0] == '.' || strcmp(e->d_name, "discoveries") == 0)
                continue;
            size_t len = strlen(folders.data[i]);
            bool slash = len && folders.data[i][len - 1] == '/';
            char *path = arena_printf(cx->arena, "%s%s%s", folders.data[i], slash ? "" : "/", e->d_name);
            if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
                vec_push(cx->arena, &folders, path);
            else if (is_rule_file(e->d_name))
                vec_push(cx->arena, files, path);
        }
        closedir(d);
    }
    return true;
}

bool rules_parse_dir(Context *cx, const char *dir, RuleList *out)
{
    Paths files = {0};
    bool ok = collect(cx, dir, &files);

    if (files.n)
        qsort(files.data, files.n, sizeof *files.data, by_path);
    for (uint32_t i = 0; i < files.n; i++)
        ok &= rules_parse_file(cx, files.data[i], out);
    return ok;
}
