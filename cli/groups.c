/* cli/groups.c — the rows of options that several commands share. */
#include "cli/cli.h"

#define FIELD(f) offsetof(Options, f)
#define MOST     9.2e18

static const Option general[] = {
    {'h', "help", OPT_FLAG, FIELD(help), NULL, "Show this help."},
    {'q', "quiet", OPT_FLAG, FIELD(quiet), NULL, "Say nothing but errors and data."},
    {'v', "verbose", OPT_FLAG, FIELD(verbose), NULL, "Say more."},
    {0, "format", OPT_ENUM, FIELD(format), "text|json|csv", "How data is printed on stdout."},
    {0, "colour", OPT_ENUM, FIELD(colour), "auto|always|never",
     "Colours of messages; auto heeds NO_COLOR."},
};
const OptionGroup options_general = OPTION_GROUP("General", general);

static const Option device[] = {
    {'d', "device", OPT_TEXT, FIELD(device), "DEVICE",
     "auto, cpu, cuda, cuda:1; where nothing runs also an architecture:\nsm_80, sm_90a, x86-64-v3 "
     "… Default: a GPU where there is one.",
     COMPLETE_DEVICE},
    {'j', "threads", OPT_INT, FIELD(threads), "N", "Threads on the CPU; 0: all.", COMPLETE_NONE, 0,
     4096},
};
const OptionGroup options_device = OPTION_GROUP("Device", device);

static const Option workload[] = {
    {'w', "workload", OPT_LIST, FIELD(workloads), "W",
     "A workload of the task, or dims as in B=1,S=512. May be repeated.\nDefault: all that the "
     "task declares."},
};
const OptionGroup options_workload = OPTION_GROUP("Workload", workload);

static const Option seed[] = {
    {0, "seed", OPT_INT, FIELD(seed), "N", "Draw inputs with this seed instead of the task's.",
     COMPLETE_NONE, 0, MOST},
};
const OptionGroup options_seed = OPTION_GROUP("Inputs", seed);

static const Option database[] = {
    {0, "db", OPT_TEXT, FIELD(db), "PATH",
     "The tuning database. Default: $PAWL_DB, else in the cache folder.", COMPLETE_FILE},
    {0, "no-tuned", OPT_FLAG, FIELD(no_tuned), NULL,
     "Ignore what tuning has found; take the model's defaults."},
};
const OptionGroup options_database = OPTION_GROUP("Tuning database", database);

static const Option passes[] = {
    {0, "no-pass", OPT_LIST, FIELD(no_pass), "PASS", "Leave a pass out. May be repeated."},
    {0, "rules", OPT_TEXT, FIELD(rules), "DIR",
     "Interpret the rules in DIR instead of the built-in ones.", COMPLETE_DIR},
    {0, "no-rule", OPT_LIST, FIELD(no_rule), "RULE", "Leave a rule out. May be repeated."},
    {0, "dump-after", OPT_TEXT, FIELD(dump_after), "PASS",
     "Print the graph on stderr after this pass, or after all."},
    {0, "dump-dir", OPT_TEXT, FIELD(dump_dir), "DIR", "Write what every stage made into DIR.",
     COMPLETE_DIR},
    {0, "verify-passes", OPT_FLAG, FIELD(verify_passes), NULL, "Check the graph after every pass."},
};
const OptionGroup options_passes = OPTION_GROUP("Passes", passes);

static const Option compile[] = {
    {0, "no-fuse", OPT_FLAG, FIELD(no_fuse), NULL, "One kernel an operation."},
    {0, "no-library", OPT_FLAG, FIELD(no_library), NULL,
     "Matrix products by our own kernels, without cuBLASLt."},
    {0, "no-kind", OPT_LIST, FIELD(no_kind), "KIND",
     "Do without a kind of kernels, such as gemm or library, to see what it is\nworth. May be "
     "repeated. Tuning remembers such results apart."},
    {0, "emitter", OPT_ENUM, FIELD(emitter), "auto|llvm|nvrtc", "Who makes GPU code."},
    {0, "pick", OPT_LIST, FIELD(picks), "CHOICE=ALT",
     "Take alternative ALT (a number; 0 is the unrewritten form) of a measured\nchoice; CHOICE is "
     "its id, or a rule's name for all of its choices."},
};
const OptionGroup options_compile = OPTION_GROUP("Code", compile);
