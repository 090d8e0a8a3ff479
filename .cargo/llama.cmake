# Included by llama.cpp's build (.cargo/config.toml).
#
# GCC before 12.4 and 13.3 knows of `_tile_loadconfig` that it reads 8 bytes, not 64, and drops
# the rest of the configuration (gcc bug 114098). On processors with AMX, an engine that was built
# with `-C target-cpu=native` then ends with SIGILL at its first matrix.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_compile_options("SHELL:$<$<COMPILE_LANGUAGE:CXX>:-include ${CMAKE_CURRENT_LIST_DIR}/amx.h>")
endif()
