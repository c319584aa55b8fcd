# SPDX-License-Identifier: Apache-2.0
#
# The newest clang++ on this machine. CMAKE_CXX_COMPILER on the command line selects another.
include("${CMAKE_CURRENT_LIST_DIR}/../find_clang.cmake")
doorbell_find_clang(CMAKE_CXX_COMPILER clang++)
if(NOT CMAKE_CXX_COMPILER)
  message(FATAL_ERROR "clang++ is not installed; scripts/deps check installs it")
endif()
