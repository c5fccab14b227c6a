/* passes/dead_code.c — drops nodes that no output reaches.
 * requires: nothing.  preserves: everything but node order. */
#include "passes/pass.h"

bool pass_dead_code(PassContext *cx)
{
    bool changed = graph_rebuild(cx->graph);
    return graph_compact(cx->graph) || changed;
}
