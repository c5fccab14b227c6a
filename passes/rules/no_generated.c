/* passes/rules/no_generated.c — an empty table of generated rules, for passgen, which is what generates them. */
#include "passes/rules/rule.h"

static bool nothing(RuleRun *r, Node *n)
{
    (void)r;
    (void)n;
    return false;
}

const GeneratedRules pawl_generated_rules = {NULL, 0, nothing};
