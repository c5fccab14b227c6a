/* base/yaml.h — a YAML document as a tree with places (libyaml underneath). Aliases, tags and several documents are refused. */
#pragma once
#include "base/diag.h"

typedef enum { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING } YamlKind;
typedef struct YamlNode {
    YamlKind kind;
    Loc      loc;
    const char *text;                         /* scalar; "" for null */
    bool     quoted;
    const Source *block;                      /* literal block scalars: the text with its place in the file */
    struct YamlNode **items;  uint32_t n;     /* sequence items, or mapping values … */
    struct YamlNode **keys;                   /* … and mapping keys, in file order; duplicates are errors */
} YamlNode;

YamlNode *yaml_parse(Arena *a, Diags *d, const Source *s);           /* NULL: diagnosed */
YamlNode *yaml_get(const YamlNode *map, const char *key);            /* NULL when absent or not a mapping */
/* Reports every key not in `known` with the nearest known key. */
bool yaml_check_keys(Diags *d, const YamlNode *map, const char *const *known, size_t n_known, const char *what);
bool yaml_i64(Diags *d, const YamlNode *n, int64_t *out, const char *what);
bool yaml_double(Diags *d, const YamlNode *n, double *out, const char *what);
bool yaml_string(Diags *d, const YamlNode *n, const char **out, const char *what);
