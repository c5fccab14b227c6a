/* passes/rules/instance.h — shared by the two files that make random instances. Private to them. */
#pragma once
#include "passes/rules/rule.h"

typedef struct Gen {
    Context *cx;
    const Rule *rule;
    Graph   *g;
    Arena   *arena;
    uint64_t state;
    bool     special;                         /* inputs hold -0, infinities, NaN */
    Node    *value[RULE_MAX_VALUES];
    NodeList list[RULE_MAX_LISTS];
    RuleValue attr[RULE_MAX_ATTRS];
    Op       op[RULE_MAX_OPS];
    int64_t  cursor;                          /* where the next of a row of slices starts */
} Gen;

uint32_t draw(Gen *g, uint32_t n);            /* uniform in [0, n) */
bool     chance(Gen *g, uint32_t percent);
Dim      draw_dim(Gen *g);
Shape    draw_shape(Gen *g);
struct YamlNode;
const struct YamlNode *hint_for(Gen *g, Str name);
Node    *leaf(Gen *g, uint8_t slot, const Type *like);          /* NULL: not for this seed */
Node    *build_pattern(Gen *g, const Pattern *p, const Type *like);   /* `like`: the type that would fit, or NULL */
