# SPDX-License-Identifier: Apache-2.0
#
# The newest clang++ on this machine, from version 19; without one, whatever is called clang++.
# CMAKE_CXX_COMPILER on the command line selects another.
set(names clang++)
foreach(version RANGE 19 40)
  list(PREPEND names clang++-${version})
endforeach()
find_program(CMAKE_CXX_COMPILER NAMES ${names} REQUIRED)
