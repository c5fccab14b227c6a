# The rooms: one static library room_NAME a folder, from all its *.c. A room without sources yet is
# an empty interface, so that whatever links it need not ask.

# pawl_version.h: PAWL_VERSION, from git; rewritten only when it changes.
add_custom_target(pawl_version
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${PROJECT_SOURCE_DIR}" "-DVERSION=${PROJECT_VERSION}"
            "-DOUTPUT=${GENERATED_DIR}/pawl_version.h" -P "${PROJECT_SOURCE_DIR}/cmake/version.cmake"
    BYPRODUCTS "${GENERATED_DIR}/pawl_version.h"
    COMMENT "Checking the version")

# pawl_sources(OUT GLOB...): the files under the source root that match, as absolute paths.
function(pawl_sources out)
    list(TRANSFORM ARGN PREPEND "${PROJECT_SOURCE_DIR}/" OUTPUT_VARIABLE globs)
    file(GLOB_RECURSE files CONFIGURE_DEPENDS ${globs})
    set(${out} "${files}" PARENT_SCOPE)
endfunction()

# pawl_embed(OUT ROOM): text files of a room become C arrays, named by their path:
# ir/functions.graph is `const char ir_functions_graph[]` (with a final NUL) and
# `const unsigned ir_functions_graph_len` (without it).
function(pawl_embed out room)
    pawl_sources(files "${room}/*.graph" "${room}/*.cu" "${room}/*.cuh" "${room}/*.html")
    set(sources "")
    foreach(file IN LISTS files)
        file(RELATIVE_PATH path "${PROJECT_SOURCE_DIR}" "${file}")
        string(MAKE_C_IDENTIFIER "${path}" symbol)
        set(source "${GENERATED_DIR}/${symbol}.c")
        add_custom_command(OUTPUT "${source}"
            COMMAND "${CMAKE_COMMAND}" "-DINPUT=${file}" "-DSYMBOL=${symbol}" "-DOUTPUT=${source}"
                    -P "${PROJECT_SOURCE_DIR}/cmake/embed.cmake"
            DEPENDS "${file}" "${PROJECT_SOURCE_DIR}/cmake/embed.cmake"
            COMMENT "Embedding ${path}")
        list(APPEND sources "${source}")
    endforeach()
    set(${out} "${sources}" PARENT_SCOPE)
endfunction()

# pawl_room(NAME SOURCES LINKS [EXTRA]): LINKS are compiled against as well as linked; EXTRA goes
# into the library, but not into room_NAME_objects.
function(pawl_room name sources links)
    set(ROOM_${name}_EXISTS OFF PARENT_SCOPE)
    if(NOT sources)
        add_library(room_${name} INTERFACE)
        target_link_libraries(room_${name} INTERFACE ${links})
        return()
    endif()
    set(ROOM_${name}_EXISTS ON PARENT_SCOPE)
    add_library(room_${name}_objects OBJECT ${sources})
    add_dependencies(room_${name}_objects pawl_version)
    target_link_libraries(room_${name}_objects PRIVATE ${links})
    add_library(room_${name} STATIC $<TARGET_OBJECTS:room_${name}_objects> ${ARGN})
    target_link_libraries(room_${name} PUBLIC ${links})
    set_target_properties(room_${name} PROPERTIES OUTPUT_NAME ${name}
                          ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/rooms")
endfunction()

# base, and the YAML reader apart from it, so that the runtime comes without libyaml.
pawl_sources(sources "base/*.c")
set(yaml_sources ${sources})
list(FILTER yaml_sources INCLUDE REGEX "/base/yaml[^/]*\\.c$")
list(FILTER sources EXCLUDE REGEX "/base/yaml[^/]*\\.c$")
pawl_room(base "${sources}" "dep_jansson;dep_z;dep_zstd;dep_xxhash;Threads::Threads;m;dl")
pawl_room(yaml "${yaml_sources}" "room_base;dep_yaml")
if(EXISTS "${PROJECT_SOURCE_DIR}/base/philox.c")
    set_source_files_properties("${PROJECT_SOURCE_DIR}/base/philox.c" PROPERTIES
                                COMPILE_OPTIONS "-O3;-ffp-contract=off")
endif()

pawl_sources(sources "ir/*.c")
pawl_embed(embedded ir)
if(sources)
    list(APPEND sources ${embedded})
endif()
pawl_room(ir "${sources}" "room_base;room_yaml")

# passes: passgen, itself made of the passes, turns patterns/ into rules_generated.c, which the
# programs link where passgen links passes/rules/no_generated.c.
set(passgen_main "${PROJECT_SOURCE_DIR}/passes/rules/passgen_main.c")
set(no_generated "${PROJECT_SOURCE_DIR}/passes/rules/no_generated.c")
pawl_sources(sources "passes/*.c")
list(REMOVE_ITEM sources "${passgen_main}" "${no_generated}")
set(rules "")
if(EXISTS "${passgen_main}")
    set(rules "${GENERATED_DIR}/rules_generated.c")
elseif(EXISTS "${no_generated}")
    set(rules "${no_generated}")
endif()
pawl_room(passes "${sources}" "room_ir;room_base;room_yaml" ${rules})
if(EXISTS "${passgen_main}")
    add_executable(passgen "${passgen_main}")
    if(EXISTS "${no_generated}")
        target_sources(passgen PRIVATE "${no_generated}")
    endif()
    if(ROOM_passes_EXISTS)
        target_sources(passgen PRIVATE $<TARGET_OBJECTS:room_passes_objects>)
    endif()
    target_link_libraries(passgen PRIVATE room_ir room_base room_yaml)
    pawl_sources(patterns "patterns/*.yaml" "patterns/*.yml")
    add_custom_command(OUTPUT "${rules}"
        COMMAND passgen patterns/ -o "${rules}"
        WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
        DEPENDS passgen ${patterns}
        COMMENT "Generating the rules of patterns/")
    set_source_files_properties("${rules}" PROPERTIES
                                COMPILE_OPTIONS "-Wno-unused;-Wno-unused-parameter")
endif()

# Weights are gigabytes: made at full speed in every build but the sanitizers'.
if(NOT CMAKE_BUILD_TYPE STREQUAL Asan)
    set_source_files_properties("${PROJECT_SOURCE_DIR}/runtime/recipe_run.c" PROPERTIES
                                COMPILE_OPTIONS "-O3;-ffp-contract=off")
endif()

# The simulator's loops over lanes are worth vectorising in every build but the sanitizers'.
pawl_sources(sources "runtime/sim/*.c")
if(NOT CMAKE_BUILD_TYPE STREQUAL Asan)
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "-O2;-ftree-vectorize")
endif()
pawl_sources(sources "runtime/*.c")
pawl_room(runtime "${sources}" "room_base;dep_cuda_headers")

set(compiler "room_runtime;room_passes;room_ir;room_base;room_yaml;dep_llvm;dep_cuda_headers")
foreach(room codegen autotune promote)
    pawl_sources(sources "${room}/*.c")
    pawl_embed(embedded ${room})
    if(sources)
        list(APPEND sources ${embedded})
    endif()
    if(room STREQUAL autotune)
        list(PREPEND compiler dep_sqlite)
    endif()
    pawl_room(${room} "${sources}" "${compiler}")
    list(PREPEND compiler room_${room})
endforeach()

# cli without its main file, so that tests can call subcommands.
set(cli_main "${PROJECT_SOURCE_DIR}/cli/main.c")
pawl_sources(sources "cli/*.c")
list(REMOVE_ITEM sources "${cli_main}")
pawl_embed(embedded cli)
if(sources)
    list(APPEND sources ${embedded})
endif()
pawl_room(cli "${sources}" "${compiler}")
