/* Every op, dtype and composite of tests/codegen/test_cpu_ops.c once more, as PTX on the simulator. */
#include "tests/codegen/run_graph.h"

static bool run_graph_on_sim(const char *text, const RunOptions *o, uint64_t seed)
{
    RunOptions on_sim = *o;
    on_sim.sim = true;
    return run_graph(text, &on_sim, seed);
}
#define run_graph run_graph_on_sim
#include "tests/codegen/test_cpu_ops.c"
