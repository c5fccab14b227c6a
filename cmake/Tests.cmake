# Tests: every tests/ROOM/**/test_*.{c,py,sh}, labelled with its room. A test says "SKIP: reason" and
# exits with 77 where it cannot run. It starts in the source root and finds in its environment:
#   PAWL, PAWL_LIB           the program and libpawl.so
#   PAWL_SANITIZED           1 in the asan build (libpawl.so cannot be loaded into a plain Python)
#   SOURCE_DIR, BUILD_DIR    the source root and the build folder
#   TEST_TMP                 a folder of its own to write in
enable_testing()

if(NOT CMOCKA)
    message(FATAL_ERROR "Missing: libcmocka-dev. scripts/setup installs it; -DPAWL_TESTS=OFF builds "
                        "without tests.")
endif()

find_program(PYTHON python3 REQUIRED)
find_program(BASH bash REQUIRED)

set(sanitized 0)
set(timeout 300)       # seconds; the slowest test takes 20 alone on a core, and machines are shared
if(CMAKE_BUILD_TYPE STREQUAL Asan)
    set(sanitized 1)
    set(timeout 900)
endif()
set(sanitizer_options "exitcode=99:print_stacktrace=1")
set(lsan "exitcode=99:print_suppressions=0")
if(EXISTS "${PROJECT_SOURCE_DIR}/tests/lsan.supp")
    string(APPEND lsan ":suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp")
endif()

# pawl_test(NAME LABEL COMMAND...)
function(pawl_test name label)
    set(tmp "${PROJECT_BINARY_DIR}/tests/tmp/${name}")
    file(MAKE_DIRECTORY "${tmp}")
    add_test(NAME "${name}" COMMAND ${ARGN} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    set_tests_properties("${name}" PROPERTIES
        LABELS "${label}" TIMEOUT ${timeout} SKIP_RETURN_CODE 77
        ENVIRONMENT "PAWL=${PROJECT_BINARY_DIR}/pawl;PAWL_LIB=${PROJECT_BINARY_DIR}/libpawl.so;\
PAWL_SANITIZED=${sanitized};SOURCE_DIR=${PROJECT_SOURCE_DIR};BUILD_DIR=${PROJECT_BINARY_DIR};\
TEST_TMP=${tmp};PYTHONPATH=${PROJECT_SOURCE_DIR}/python;PYTHONDONTWRITEBYTECODE=1;\
ASAN_OPTIONS=${sanitizer_options}:strict_string_checks=1:detect_leaks=1;\
UBSAN_OPTIONS=${sanitizer_options};LSAN_OPTIONS=${lsan}")
endfunction()

pawl_sources(sources "tests/test_*.c" "tests/test_*.py" "tests/test_*.sh")
foreach(source IN LISTS sources)
    file(RELATIVE_PATH path "${PROJECT_SOURCE_DIR}/tests" "${source}")
    string(REGEX REPLACE "/.*" "" room "${path}")
    if(source MATCHES "\\.c$")
        string(REGEX REPLACE "\\.c$" "" name "${path}")
        pawl_test_program("${source}" target)
        pawl_test("${name}" "${room}" $<TARGET_FILE:${target}>)
    elseif(source MATCHES "\\.py$")
        pawl_test("${path}" "${room}" "${PYTHON}" "${source}")
    else()
        pawl_test("${path}" "${room}" "${BASH}" "${source}")
    endif()
endforeach()

pawl_test(project/rooms project "${PYTHON}" "${PROJECT_SOURCE_DIR}/scripts/check-rooms")
if(TARGET pawl_shared)
    pawl_test(project/library project "${BASH}" "${PROJECT_SOURCE_DIR}/scripts/check-library"
              $<TARGET_FILE:pawl_shared>)
endif()
