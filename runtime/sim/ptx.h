/* runtime/sim/ptx.h — a PTX module, parsed and resolved: variables, functions, and one dense array of instructions.
 *
 * Registers are slots: 32 lanes of 4 bytes. A 64-bit register has two neighbouring slots (uint64_t[32]), a 16-bit one holds
 * uint16_t[32] in the first half of its slot, a predicate a mask of lanes in the first word. Immediates and addresses of
 * variables are constant slots, broadcast to all lanes when a launch begins, so that an instruction fetches every source the
 * same way. Opcodes and modifiers are rows of ops.def; binding an instruction to its code is select.c's. */
#pragma once
#include "base/diag.h"
#include "base/map.h"
#include "base/vec.h"

/*        enum   text     bytes  class: b bits, u, s, f float, p packed float pair, x other */
#define PTX_TYPES(X)                                                                                                    \
    X(B8, "b8", 1, 'b')     X(B16, "b16", 2, 'b')   X(B32, "b32", 4, 'b')   X(B64, "b64", 8, 'b')   X(B128, "b128", 16, 'b')\
    X(U8, "u8", 1, 'u')     X(U16, "u16", 2, 'u')   X(U32, "u32", 4, 'u')   X(U64, "u64", 8, 'u')                       \
    X(S8, "s8", 1, 's')     X(S16, "s16", 2, 's')   X(S32, "s32", 4, 's')   X(S64, "s64", 8, 's')                       \
    X(F16, "f16", 2, 'f')   X(BF16, "bf16", 2, 'f') X(TF32, "tf32", 4, 'f') X(F32, "f32", 4, 'f')   X(F64, "f64", 8, 'f')\
    X(F16X2, "f16x2", 4, 'p')   X(BF16X2, "bf16x2", 4, 'p')   X(F32X2, "f32x2", 8, 'p')                                 \
    X(U16X2, "u16x2", 4, 'x')   X(S16X2, "s16x2", 4, 'x')                                                               \
    X(E4M3, "e4m3", 1, 'x')     X(E5M2, "e5m2", 1, 'x')   X(E4M3X2, "e4m3x2", 2, 'x')   X(E5M2X2, "e5m2x2", 2, 'x')     \
    X(B1, "b1", 1, 'x')         X(U4, "u4", 1, 'x')       X(S4, "s4", 1, 'x')           X(PRED, "pred", 4, 'x')
typedef enum {
    PT_NONE,
#define X(e, t, b, c) PT_##e,
    PTX_TYPES(X)
#undef X
    PT_COUNT
} PtxType;
const char *ptx_type_name(PtxType t);
uint32_t    ptx_type_bytes(PtxType t);
char        ptx_type_class(PtxType t);

typedef enum { SPACE_GENERIC, SPACE_GLOBAL, SPACE_SHARED, SPACE_CONST, SPACE_LOCAL, SPACE_PARAM, SPACE_COUNT } PtxSpace;
const char *ptx_space_name(PtxSpace s);

/* Opcodes and modifiers: enumerations expanded from ops.def. */
typedef enum {
    PO_NONE,
#define OP(e, text, cls, select) PO_##e,
#define MOD(e, text)
#include "runtime/sim/ops.def"
#undef OP
#undef MOD
    PO_COUNT
} PtxOp;
typedef enum {
#define OP(e, text, cls, select)
#define MOD(e, text) PM_##e,
#include "runtime/sim/ops.def"
#undef OP
#undef MOD
    PM_COUNT
} PtxMod;
#define PTX_CLASSES(X) X(INTEGER, "integer") X(FLOAT, "float") X(HALF, "half") X(SPECIAL, "special function") X(CONVERT, "conversion") \
    X(MOVE, "move") X(COMPARE, "compare") X(CONTROL, "control") X(MEMORY, "memory") X(ATOMIC, "atomic") X(SYNC, "synchronisation") \
    X(WARP, "warp exchange") X(TENSOR, "tensor") X(ASYNC, "asynchronous copy") X(OTHER, "other")
typedef enum {
#define X(e, t) CLASS_##e,
    PTX_CLASSES(X)
#undef X
    CLASS_COUNT
} PtxClass;
const char *ptx_op_name(PtxOp o);
PtxClass    ptx_op_class(PtxOp o);
const char *ptx_class_name(PtxClass c);

/* ---- variables ---------------------------------------------------------------------------------------------------------- */
typedef struct PtxVar {
    Str      name;
    PtxSpace space;
    PtxType  type;                     /* of an element */
    uint32_t align;
    uint64_t bytes;                    /* 0: .extern .shared x[], which starts where static shared memory ends */
    bool     is_extern, is_kernel_param;
    uint8_t *data;                     /* initial bytes, or NULL */
    struct PtxFixup *fixups; uint32_t n_fixups;       /* addresses among the initial bytes */
    Loc      loc;
    /* .global, .const: index among the module's; .shared: index among the module's shared variables;
     * .local, .param: offset in the function's frame (kernel parameters: in the block of parameters) */
    uint64_t at;
} PtxVar;
typedef struct PtxFixup { uint64_t offset; uint32_t bytes; const PtxVar *var; int64_t add; bool generic; } PtxFixup;

/* ---- operands ----------------------------------------------------------------------------------------------------------- */
typedef enum { SLOT_FRAME, SLOT_CONST, SLOT_WARP /* special registers */ } SlotBase;
typedef struct { uint32_t slot; uint8_t base, bytes /* 2, 4, 8, 16; 0: a predicate */; bool negated; } PtxSlot;

typedef enum {
    OPERAND_NONE,        /* also the sink `_` */
    OPERAND_SLOT,        /* register or constant */
    OPERAND_VECTOR,      /* {a, b, …}: vector[0 .. n) */
    OPERAND_MEMORY,      /* [slot + offset], var: the variable it names, if any; `vector`: coordinates of a tensor operand */
    OPERAND_LABEL,       /* target: number of an instruction */
    OPERAND_FUNCTION, OPERAND_LIST /* (a, b, …) of a call: vector */, OPERAND_TABLE /* .branchtargets: module->targets[target .. + offset) */,
    OPERAND_SPECIAL      /* special register that changes: special */
} OperandKind;

typedef struct PtxOperand {
    uint8_t  kind;
    uint8_t  n;                        /* of `vector` */
    bool     has_second;               /* d|p: second result */
    bool     in_frame;                 /* a .local or .param of this function: `slot` unused, offset from the frame's start */
    bool     in_params;                /* a parameter of the kernel: `slot` unused, offset in the block of parameters */
    PtxSlot  slot, second;
    int64_t  offset;
    uint32_t target;
    uint16_t special;                  /* PtxSpecial */
    PtxSlot *vector;                   /* elements; base SLOT_CONST with bytes 255 is the sink `_` */
    const struct PtxVar *var;
    const struct PtxVar **list;        /* of a call, where they are .param variables: as many as n; else NULL */
    const struct PtxFunction *function;
} PtxOperand;

/* ---- instructions ------------------------------------------------------------------------------------------------------- */
struct SimWarp;
struct PtxInst;
typedef enum {
    FLOW_NEXT,           /* go on with the next instruction */
    FLOW_MOVED,          /* the lanes have been sent elsewhere (branches, exits) */
    FLOW_WAIT,           /* not done: the lanes stay at this instruction until something changes */
    FLOW_YIELD,          /* done, but let others run soon (atomics, volatile loads, sleeps) */
    FLOW_STOP            /* the launch is over */
} SimFlow;
/* Runs one instruction for the lanes of `mask` (never empty; guard and divergence are already in it). */
typedef SimFlow SimExec(struct SimWarp *w, const struct PtxInst *inst, uint32_t mask);

#define PTX_MAX_OPERANDS 9
typedef struct PtxInst {
    SimExec *exec;
    PtxOperand *operand;               /* results first, in the order of the text */
    uint8_t  n_operands, n_types;
    uint16_t op;                       /* PtxOp */
    uint8_t  type[4];                  /* in the order of the text: cvt.rn.f16.f32 has F16, F32 */
    uint8_t  space;                    /* PtxSpace, of memory instructions */
    uint8_t  vector;                   /* .v2, .v4, .v8: elements; else 1 */
    uint8_t  guarded;                  /* has @p */
    uint8_t  guard_negated;
    uint32_t guard;                    /* slot of the predicate, in the frame */
    uint64_t mods[4];                  /* set of PtxMod */
    uint32_t variant;                  /* free for select: a shape, a comparison, a count */
    uint32_t depth;                    /* in the post-dominator tree: deeper groups of lanes run first */
    uint32_t line;                     /* of the PTX text */
    uint32_t file, file_line;          /* .loc; file 0: none */
    uint32_t function;
    Loc      loc;
} PtxInst;
static inline bool inst_has(const PtxInst *i, PtxMod m) { return i->mods[m / 64] >> (m % 64) & 1; }

/* ---- functions and modules ---------------------------------------------------------------------------------------------- */
typedef struct PtxFunction {
    Str      name;
    bool     is_entry, is_extern;      /* extern: vprintf and math functions that the simulator has */
    uint32_t first, n;                 /* instructions */
    uint32_t n_slots;                  /* registers */
    Vec(PtxVar *) results, params;     /* kernel parameters: `at` is the offset in the block of parameters */
    uint32_t param_bytes;              /* of the block */
    uint32_t frame_bytes;              /* .local and, outside kernels, .param variables */
    uint32_t max_threads[3], req_threads[3], req_cluster[3];   /* .maxntid, .reqntid, .reqnctapercluster; 0: not said */
    Map     *shared;                   /* module shared variables that it or its callees name */
    Vec(const struct PtxFunction *) callees;
    Loc      loc;
} PtxFunction;

typedef struct { uint32_t slot, bytes; const PtxVar *var; int64_t add; } PtxAddress;     /* a constant slot that is an address */

typedef struct PtxModule {
    Arena   *arena;
    const Source *source;
    uint32_t version, sm;              /* 90 for 9.0; 90 for sm_90a */
    char     target[32];
    Vec(PtxVar *)      globals;        /* .global and .const */
    Vec(PtxVar *)      shared;
    Vec(PtxFunction *) functions;
    Vec(PtxInst)       code;
    Vec(uint32_t)      constants;      /* one word a slot: broadcast when a launch begins; 64-bit values: two words, low first */
    Vec(uint8_t)       constant_bytes; /* 2, 4, 8, 0 (predicate); 255: second half of the one before */
    Vec(PtxAddress)    addresses;
    Vec(uint32_t)      targets;        /* of branch tables */
    Vec(Str)           files;          /* by .file number; NULL where unknown */
} PtxModule;

/* Reads a module; everything lives in `a`. NULL: diagnosed, with PAWL_EXIT_UNSUPPORTED when only instructions are missing, all
 * of which are named. */
PtxModule *ptx_read(Arena *a, Diags *d, const Source *text);
const PtxFunction *ptx_entry(const PtxModule *m, const char *name);  /* NULL: none; name NULL: the only one */

/* Special registers. Fixed ones are slots of the warp; the others are read by mov only. */
#define PTX_SPECIALS(X)                                                                                                  \
    X(TID_X, "%tid.x") X(TID_Y, "%tid.y") X(TID_Z, "%tid.z") X(NTID_X, "%ntid.x") X(NTID_Y, "%ntid.y") X(NTID_Z, "%ntid.z")  \
    X(CTAID_X, "%ctaid.x") X(CTAID_Y, "%ctaid.y") X(CTAID_Z, "%ctaid.z")                                                 \
    X(NCTAID_X, "%nctaid.x") X(NCTAID_Y, "%nctaid.y") X(NCTAID_Z, "%nctaid.z")                                           \
    X(CLUSTERID_X, "%clusterid.x") X(CLUSTERID_Y, "%clusterid.y") X(CLUSTERID_Z, "%clusterid.z")                         \
    X(NCLUSTERID_X, "%nclusterid.x") X(NCLUSTERID_Y, "%nclusterid.y") X(NCLUSTERID_Z, "%nclusterid.z")                   \
    X(CLUSTER_CTAID_X, "%cluster_ctaid.x") X(CLUSTER_CTAID_Y, "%cluster_ctaid.y") X(CLUSTER_CTAID_Z, "%cluster_ctaid.z") \
    X(CLUSTER_NCTAID_X, "%cluster_nctaid.x") X(CLUSTER_NCTAID_Y, "%cluster_nctaid.y") X(CLUSTER_NCTAID_Z, "%cluster_nctaid.z") \
    X(CLUSTER_CTARANK, "%cluster_ctarank") X(CLUSTER_NCTARANK, "%cluster_nctarank")                                      \
    X(LANEID, "%laneid") X(WARPID, "%warpid") X(NWARPID, "%nwarpid") X(SMID, "%smid") X(NSMID, "%nsmid")                 \
    X(LANEMASK_EQ, "%lanemask_eq") X(LANEMASK_LE, "%lanemask_le") X(LANEMASK_LT, "%lanemask_lt")                         \
    X(LANEMASK_GE, "%lanemask_ge") X(LANEMASK_GT, "%lanemask_gt")                                                        \
    X(DYNAMIC_SMEM_SIZE, "%dynamic_smem_size") X(TOTAL_SMEM_SIZE, "%total_smem_size")                                    \
    X(RESERVED_SMEM_BEGIN, "%reserved_smem_offset_begin") X(WARP_SIZE, "WARP_SZ")                                        \
    X(FIXED_COUNT, "") /* from here on: not slots */                                                                     \
    X(CLOCK, "%clock") X(CLOCK_HI, "%clock_hi") X(CLOCK64, "%clock64") X(GLOBALTIMER, "%globaltimer")                    \
    X(GLOBALTIMER_LO, "%globaltimer_lo") X(GLOBALTIMER_HI, "%globaltimer_hi") X(GRIDID, "%gridid")                       \
    X(IS_EXPLICIT_CLUSTER, "%is_explicit_cluster") X(AGGR_SMEM_SIZE, "%aggr_smem_size")
typedef enum {
#define X(e, t) SR_##e,
    PTX_SPECIALS(X)
#undef X
    SR_COUNT
} PtxSpecial;
