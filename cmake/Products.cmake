# What people use: the program, the runtime library in both forms, examples, benchmarks.

set(ROOMS_ALL room_cli room_promote room_autotune room_codegen room_runtime room_passes room_ir
              room_yaml room_base dep_llvm dep_sqlite dep_cuda_headers)

if(EXISTS "${cli_main}")
    add_executable(pawl "${cli_main}")
    add_dependencies(pawl pawl_version)
    target_link_libraries(pawl PRIVATE ${ROOMS_ALL})
    set_target_properties(pawl PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
endif()

# libpawl: base and runtime only, exporting pawl_* only. No compiler, no LLVM, no libyaml.
if(ROOM_runtime_EXISTS)
    set(base_objects "")
    if(ROOM_base_EXISTS)
        set(base_objects $<TARGET_OBJECTS:room_base_objects>)
    endif()
    add_library(pawl_shared SHARED $<TARGET_OBJECTS:room_runtime_objects>)
    set(jansson_shareable "")
    if(PAWL_STATIC AND DEP_jansson_LIBRARY MATCHES "\\.a$")
        # Distributions compile libjansson.a for programs. The one thing in it that cannot go into a
        # shared library is the address of libc's stdin, which json_loadf compares its input with to
        # name it in messages; with a null of our own in its place, the rest can.
        set(jansson_shareable "${GENERATED_DIR}/libjansson_shareable.a")
        file(WRITE "${GENERATED_DIR}/jansson_stdin.c" "extern void *pawl_jansson_stdin;\n"
             "__attribute__((visibility(\"hidden\"))) void *pawl_jansson_stdin;\n")
        add_custom_command(OUTPUT "${jansson_shareable}"
            COMMAND "${CMAKE_OBJCOPY}" --redefine-sym stdin=pawl_jansson_stdin
                    "${DEP_jansson_LIBRARY}" "${jansson_shareable}"
            DEPENDS "${DEP_jansson_LIBRARY}"
            COMMENT "Making libjansson.a fit for libpawl.so")
        target_sources(pawl_shared PRIVATE "${GENERATED_DIR}/jansson_stdin.c"
                       "${jansson_shareable}")
    endif()
    target_link_libraries(pawl_shared PRIVATE room_base ${jansson_shareable})
    target_link_options(pawl_shared PRIVATE
                        "-Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/libpawl.map"
                        -Wl,--exclude-libs,ALL -Wl,-z,text)
    if(NOT CMAKE_BUILD_TYPE STREQUAL Asan)
        target_link_options(pawl_shared PRIVATE -Wl,--no-undefined)
    endif()
    set_target_properties(pawl_shared PROPERTIES OUTPUT_NAME pawl
                          LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/libpawl.map"
                          LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
    target_include_directories(pawl_shared INTERFACE "${PROJECT_SOURCE_DIR}/runtime")

    add_library(pawl_runtime STATIC $<TARGET_OBJECTS:room_runtime_objects> ${base_objects})
    target_link_libraries(pawl_runtime PUBLIC dep_jansson dep_z dep_zstd dep_xxhash
                          Threads::Threads m dl)
    set_target_properties(pawl_runtime PROPERTIES
                          ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")

    # Examples see what a user sees: pawl.h and libpawl.
    file(GLOB examples CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/*.c")
    foreach(source IN LISTS examples)
        get_filename_component(name "${source}" NAME_WE)
        add_executable(example_${name} "${source}")
        target_link_libraries(example_${name} PRIVATE pawl_shared m)
        set_target_properties(example_${name} PROPERTIES OUTPUT_NAME ${name}
                              RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
    endforeach()
endif()

file(GLOB benches CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/*.c")
foreach(source IN LISTS benches)
    get_filename_component(name "${source}" NAME_WE)
    add_executable(bench_${name} "${source}")
    target_link_libraries(bench_${name} PRIVATE ${ROOMS_ALL})
    set_target_properties(bench_${name} PROPERTIES OUTPUT_NAME ${name}
                          RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
endforeach()

# pawl_test_program(SOURCE OUT_TARGET): one cmocka program, BUILD/tests/ROOM/NAME.
find_library(CMOCKA cmocka)
function(pawl_test_program source out)
    file(RELATIVE_PATH path "${PROJECT_SOURCE_DIR}/tests" "${source}")
    string(REGEX REPLACE "\\.c$" "" path "${path}")
    get_filename_component(folder "${path}" DIRECTORY)
    get_filename_component(name "${path}" NAME)
    string(MAKE_C_IDENTIFIER "tests_${path}" target)
    add_executable(${target} "${source}")
    target_compile_options(${target} PRIVATE -Wno-unused-parameter)
    target_link_libraries(${target} PRIVATE test_support ${ROOMS_ALL} "${CMOCKA}")
    set_target_properties(${target} PROPERTIES OUTPUT_NAME ${name}
                          RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/${folder}")
    set(${out} ${target} PARENT_SCOPE)
endfunction()

# What several tests share: every tests/**/*.c that is not a test itself.
pawl_sources(sources "tests/*.c")
list(FILTER sources EXCLUDE REGEX "/test_[^/]*\\.c$")
if(sources)
    add_library(test_support STATIC EXCLUDE_FROM_ALL ${sources})
    target_link_libraries(test_support PUBLIC ${ROOMS_ALL})
else()
    add_library(test_support INTERFACE)
endif()

# tests/sim/suite.c takes the programs of its suite in through the assembler.
pawl_sources(programs "tests/sim/ptx/*.ptx")
if(programs)
    set_source_files_properties("${PROJECT_SOURCE_DIR}/tests/sim/suite.c" PROPERTIES
                                OBJECT_DEPENDS "${programs}")
endif()

# `make dist` takes the GPU's tests along, all in one program (each would carry its own LLVM), to run
# where no compiler is: BUILD/tests/gpu/run_all [NAME...].
pawl_sources(sources "tests/gpu/test_*.c")
if(NOT PAWL_TESTS AND sources)
    set(declarations "")
    set(rows "")
    set(objects "")
    foreach(source IN LISTS sources)
        get_filename_component(name "${source}" NAME_WE)
        add_library(gpu_${name} OBJECT EXCLUDE_FROM_ALL "${source}")
        target_compile_definitions(gpu_${name} PRIVATE main=main_of_${name})
        target_compile_options(gpu_${name} PRIVATE -Wno-missing-prototypes -Wno-unused-parameter)
        target_link_libraries(gpu_${name} PRIVATE test_support ${ROOMS_ALL})
        list(APPEND objects $<TARGET_OBJECTS:gpu_${name}>)
        string(APPEND declarations "int main_of_${name}();\n")
        string(APPEND rows "    { \"${name}\", main_of_${name} },\n")
    endforeach()
    configure_file("${PROJECT_SOURCE_DIR}/cmake/run_all.c.in" "${GENERATED_DIR}/run_all.c" @ONLY)
    add_executable(gpu_tests EXCLUDE_FROM_ALL "${GENERATED_DIR}/run_all.c" ${objects})
    target_compile_options(gpu_tests PRIVATE -Wno-strict-prototypes)
    target_link_libraries(gpu_tests PRIVATE test_support ${ROOMS_ALL} "${CMOCKA}")
    set_target_properties(gpu_tests PROPERTIES OUTPUT_NAME run_all
                          BUILD_RPATH "$ORIGIN/../../lib"
                          RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/gpu")
elseif(NOT PAWL_TESTS)
    add_custom_target(gpu_tests)
endif()
