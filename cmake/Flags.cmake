# Warnings and the flags of the build types.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Our assertions are our own macro and stay on in every build, hence no NDEBUG.
set(CMAKE_C_FLAGS_DEV "-O1 -g -fno-omit-frame-pointer")
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1")
set(CMAKE_C_FLAGS_ASAN "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all")
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Dev)
endif()

add_compile_definitions(_GNU_SOURCE)
add_compile_options(
    -Wall -Wextra -Wswitch-enum -Wshadow -Wstrict-prototypes -Wmissing-prototypes
    -Wno-missing-field-initializers   # rows of tables leave their last columns out
    -ffp-contract=off                 # a result does not depend on the compiler's taste for fma
    -ffunction-sections -fdata-sections
    "-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=")
if(PAWL_WERROR)
    add_compile_options(-Werror)
endif()

# gcc's flow-sensitive warnings guess wrongly behind -O3 and behind the sanitizers' checks; the
# dev build, where they do not, keeps them as errors.
if(CMAKE_C_COMPILER_ID STREQUAL GNU AND NOT CMAKE_BUILD_TYPE STREQUAL Dev)
    add_compile_options(-Wno-error=maybe-uninitialized -Wno-error=stringop-overflow
                        -Wno-error=stringop-overread -Wno-error=array-bounds
                        -Wno-error=stringop-truncation -Wno-error=format-truncation
                        -Wno-error=null-dereference -Wno-error=restrict)
endif()

# clang takes a long literal that goes on in the next line of a table for a forgotten comma, and warns
# where it does not follow a hint to vectorise.
if(CMAKE_C_COMPILER_ID MATCHES Clang)
    add_compile_options(-Wno-string-concatenation -Wno-pass-failed)
endif()

add_link_options(-Wl,--gc-sections -Wl,--as-needed)
if(CMAKE_BUILD_TYPE STREQUAL Release)
    # Nothing shipped names the folder that it was built in.
    add_compile_options("-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=")
endif()

include_directories("${PROJECT_SOURCE_DIR}" "${GENERATED_DIR}")

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE}")
endif()
