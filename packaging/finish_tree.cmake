# SPDX-License-Identifier: Apache-2.0
#
# CPack runs this script on the installed trees before it makes packages of them. The script strips binaries, and
# compresses manual pages and changelogs, as Debian's policy and lintian require.
cmake_minimum_required(VERSION 3.25)
file(GLOB_RECURSE files "${CPACK_TEMPORARY_DIRECTORY}/*")
set(documents ${files})
list(FILTER documents INCLUDE REGEX "/share/(man/man[1-9]/[^/]+\\.[1-9]|doc/[^/]+/changelog(\\.Debian)?)$")
set(binaries ${files})
list(FILTER binaries INCLUDE REGEX "(/bin/[^/]+|\\.so(\\.[^/]*)?)$")
foreach(kind IN ITEMS documents binaries)
  if(NOT ${kind})
    message(FATAL_ERROR "no ${kind} below ${CPACK_TEMPORARY_DIRECTORY}")
  endif()
endforeach()

# --no-name leaves out file name and time, so that builds of the same sources give equal files.
execute_process(COMMAND gzip -9 --no-name ${documents} COMMAND_ERROR_IS_FATAL ANY)

# Symbolic links are skipped, so that each file is stripped once.
foreach(binary IN LISTS binaries)
  if(NOT IS_SYMLINK "${binary}")
    execute_process(COMMAND strip --strip-unneeded --remove-section=.comment --remove-section=.note "${binary}"
      COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()
