/* runtime/sim/lift.cuh — put before CUDA C that is compiled to be lifted: math functions stay calls, which the simulator's residue
 * domain knows by their names. (Inlined they are polynomials and bit tricks; only expf's are seen through.) The kernel still runs as it
 * is on a GPU and in the simulator's f32 domain. */
#define PAWL_LIFT_1(name) extern "C" __device__ __noinline__ float pawl_##name(float x) { return name(x); }
PAWL_LIFT_1(expf)  PAWL_LIFT_1(exp2f)  PAWL_LIFT_1(expm1f) PAWL_LIFT_1(logf)  PAWL_LIFT_1(log2f)  PAWL_LIFT_1(log10f) PAWL_LIFT_1(log1pf)
PAWL_LIFT_1(sinf)  PAWL_LIFT_1(cosf)   PAWL_LIFT_1(tanf)   PAWL_LIFT_1(asinf) PAWL_LIFT_1(acosf)  PAWL_LIFT_1(atanf)
PAWL_LIFT_1(sinhf) PAWL_LIFT_1(coshf)  PAWL_LIFT_1(tanhf)  PAWL_LIFT_1(erff)  PAWL_LIFT_1(erfcf)
PAWL_LIFT_1(asinhf) PAWL_LIFT_1(acoshf) PAWL_LIFT_1(atanhf)
extern "C" __device__ __noinline__ float pawl_powf(float x, float y) { return powf(x, y); }
#undef PAWL_LIFT_1
#define expf pawl_expf
#define exp2f pawl_exp2f
#define expm1f pawl_expm1f
#define logf pawl_logf
#define log2f pawl_log2f
#define log10f pawl_log10f
#define log1pf pawl_log1pf
#define sinf pawl_sinf
#define cosf pawl_cosf
#define tanf pawl_tanf
#define asinf pawl_asinf
#define acosf pawl_acosf
#define atanf pawl_atanf
#define sinhf pawl_sinhf
#define coshf pawl_coshf
#define tanhf pawl_tanhf
#define erff pawl_erff
#define erfcf pawl_erfcf
#define asinhf pawl_asinhf
#define acoshf pawl_acoshf
#define atanhf pawl_atanhf
#define powf pawl_powf
// The overloads without f, where they are called on floats.
#define PAWL_LIFT_OVERLOAD(name)                                                        \
    __device__ __forceinline__ float pawl_lift_##name(float x) { return pawl_##name##f(x); } \
    __device__ __forceinline__ double pawl_lift_##name(double x) { return name(x); }
PAWL_LIFT_OVERLOAD(exp) PAWL_LIFT_OVERLOAD(exp2) PAWL_LIFT_OVERLOAD(expm1) PAWL_LIFT_OVERLOAD(log)  PAWL_LIFT_OVERLOAD(log2)
PAWL_LIFT_OVERLOAD(log1p) PAWL_LIFT_OVERLOAD(sin) PAWL_LIFT_OVERLOAD(cos) PAWL_LIFT_OVERLOAD(tanh) PAWL_LIFT_OVERLOAD(erf) PAWL_LIFT_OVERLOAD(erfc)
#undef PAWL_LIFT_OVERLOAD
#define exp(x) pawl_lift_exp(x)
#define exp2(x) pawl_lift_exp2(x)
#define expm1(x) pawl_lift_expm1(x)
#define log(x) pawl_lift_log(x)
#define log2(x) pawl_lift_log2(x)
#define log1p(x) pawl_lift_log1p(x)
#define sin(x) pawl_lift_sin(x)
#define cos(x) pawl_lift_cos(x)
#define tanh(x) pawl_lift_tanh(x)
#define erf(x) pawl_lift_erf(x)
#define erfc(x) pawl_lift_erfc(x)
