# cmake -DINPUT=FILE -DSYMBOL=NAME -DOUTPUT=FILE.c -P embed.cmake: a file as a C array.
file(SIZE "${INPUT}" size)
set(bytes "")
if(size GREATER 0)
    file(READ "${INPUT}" hex HEX)
    string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${hex}")
    string(REPEAT "......." 14 line)   # fourteen bytes of seven characters each
    string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
endif()
file(WRITE "${OUTPUT}" "extern const char ${SYMBOL}[];\nextern const unsigned ${SYMBOL}_len;\n"
     "const char ${SYMBOL}[] = {\n${bytes}0};\nconst unsigned ${SYMBOL}_len = ${size};\n")
