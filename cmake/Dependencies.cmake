# Libraries, each an INTERFACE target dep_NAME: shared in development, static where PAWL_STATIC.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

set(PAWL_MISSING "")

# pawl_dependency(NAME HEADER LIBRARY PACKAGE): finds one C library.
function(pawl_dependency name header library package)
    if(PAWL_STATIC)
        set(CMAKE_FIND_LIBRARY_SUFFIXES .a .so)
    endif()
    find_path(DEP_${name}_INCLUDE ${header})
    find_library(DEP_${name}_LIBRARY ${library})
    mark_as_advanced(DEP_${name}_INCLUDE DEP_${name}_LIBRARY)
    add_library(dep_${name} INTERFACE)
    if(NOT DEP_${name}_INCLUDE OR NOT DEP_${name}_LIBRARY)
        set(PAWL_MISSING "${PAWL_MISSING} ${package}" PARENT_SCOPE)
        return()
    endif()
    target_link_libraries(dep_${name} INTERFACE "${DEP_${name}_LIBRARY}")
    if(NOT DEP_${name}_INCLUDE STREQUAL "/usr/include")
        target_include_directories(dep_${name} SYSTEM INTERFACE "${DEP_${name}_INCLUDE}")
    endif()
endfunction()

pawl_dependency(yaml yaml.h yaml libyaml-dev)
pawl_dependency(jansson jansson.h jansson libjansson-dev)
pawl_dependency(sqlite sqlite3.h sqlite3 libsqlite3-dev)
pawl_dependency(z zlib.h z zlib1g-dev)
pawl_dependency(zstd zstd.h zstd libzstd-dev)
pawl_dependency(xxhash xxhash.h xxhash libxxhash-dev)

# LLVM 19, through its C API.
add_library(dep_llvm INTERFACE)
find_program(LLVM_CONFIG NAMES llvm-config-19 HINTS /usr/lib/llvm-19/bin)
if(NOT LLVM_CONFIG)
    set(PAWL_MISSING "${PAWL_MISSING} llvm-19-dev")
endif()

if(PAWL_MISSING)
    message(FATAL_ERROR "Missing:${PAWL_MISSING}\n"
        "These are the names of Debian's packages. On Debian or Ubuntu, scripts/setup installs them.")
endif()

function(pawl_llvm_config out)
    execute_process(COMMAND "${LLVM_CONFIG}" ${ARGN} OUTPUT_VARIABLE text RESULT_VARIABLE rc
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT rc EQUAL 0)
        message(FATAL_ERROR "${LLVM_CONFIG} ${ARGN} failed")
    endif()
    separate_arguments(text UNIX_COMMAND "${text}")
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

pawl_llvm_config(llvm_include --includedir)
pawl_llvm_config(llvm_libdir --libdir)
target_include_directories(dep_llvm SYSTEM INTERFACE "${llvm_include}")
if(PAWL_STATIC)
    pawl_llvm_config(llvm_libs --link-static --libs passes x86 nvptx)
    pawl_llvm_config(llvm_system_libs --link-static --system-libs passes x86 nvptx)
    # Ours are static; z3 and xml2 belong to parts of LLVM that are not linked in.
    list(FILTER llvm_system_libs EXCLUDE REGEX "^-lz$|^-lzstd$|z3|xml2|tinfo")
    execute_process(COMMAND "${CMAKE_C_COMPILER}" -print-file-name=libstdc++.a
                    OUTPUT_VARIABLE libstdcxx OUTPUT_STRIP_TRAILING_WHITESPACE)
    # One item, so that CMake keeps the order: what LLVM needs comes after it.
    string(JOIN "," llvm_link "-Wl,-L${llvm_libdir}" ${llvm_libs} "${DEP_z_LIBRARY}"
           "${DEP_zstd_LIBRARY}" ${llvm_system_libs} "${libstdcxx}" -lm)
    target_link_libraries(dep_llvm INTERFACE "${llvm_link}" Threads::Threads)
    add_link_options(-static-libgcc)
else()
    target_link_libraries(dep_llvm INTERFACE "${llvm_libdir}/libLLVM.so")
endif()

# CUDA is loaded at run time and never linked; its headers are used where they are found.
find_path(CUDA_INCLUDE cuda.h
          HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES include)
add_library(dep_cuda_headers INTERFACE)
if(CUDA_INCLUDE)
    target_compile_definitions(dep_cuda_headers INTERFACE PAWL_HAVE_CUDA_HEADERS=1)
    target_include_directories(dep_cuda_headers SYSTEM INTERFACE "${CUDA_INCLUDE}")
endif()
