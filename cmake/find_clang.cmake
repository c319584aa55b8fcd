# SPDX-License-Identifier: Apache-2.0

# doorbell_find_clang(variable tool [version]): sets the cache variable to the path of `tool` (clang++, clang-tidy,
# ...): that of the given version, otherwise the newest from version 19 on, otherwise the one with the plain name.
function(doorbell_find_clang variable tool)
  set(names ${tool})
  foreach(version RANGE 19 40)
    list(PREPEND names ${tool}-${version})
  endforeach()
  foreach(version IN LISTS ARGN)
    list(PREPEND names ${tool}-${version})
  endforeach()
  find_program(${variable} NAMES ${names})
endfunction()
