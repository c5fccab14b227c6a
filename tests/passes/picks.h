/* tests/passes/picks.h — the graph under one alternative of all its choices. */
#pragma once
#include "passes/pass.h"

/* A graph like g whose choices took their last alternatives: those of `rule` alone, the others as written, or, where it is NULL, all. */
Graph *last_alternatives(Context *cx, const Graph *g, const char *rule);
