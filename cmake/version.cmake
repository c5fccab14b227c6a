# cmake -DSOURCE=DIR -DVERSION=X.Y.Z -DOUTPUT=FILE.h -P version.cmake: writes PAWL_VERSION, the
# project's version and, in a git checkout between releases, the commit.
set(version "${VERSION}")
find_program(GIT git)
if(GIT AND EXISTS "${SOURCE}/.git")
    execute_process(COMMAND "${GIT}" -C "${SOURCE}" tag --points-at HEAD v${VERSION}
                    OUTPUT_VARIABLE tag ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    execute_process(COMMAND "${GIT}" -C "${SOURCE}" rev-parse --short=10 HEAD
                    OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE
                    RESULT_VARIABLE rc)
    if(rc EQUAL 0 AND NOT tag)
        set(version "${VERSION}-g${commit}")
    endif()
endif()
set(text "/* Written by cmake/version.cmake. */\n#pragma once\n#define PAWL_VERSION \"${version}\"\n")
set(old "")
if(EXISTS "${OUTPUT}")
    file(READ "${OUTPUT}" old)
endif()
if(NOT old STREQUAL text)
    file(WRITE "${OUTPUT}" "${text}")
endif()
