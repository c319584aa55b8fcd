# SPDX-License-Identifier: Apache-2.0
#
# The CMake package and the pkg-config file. What consumers must find follows from what the rooms link:
#   absl::x       find_dependency(absl)       Requires: absl_x
#   PkgConfig::x  pkg_check_modules(x)        Requires: x
#   Boost::x      find_dependency(Boost)      headers only, and on the compiler's own path
#   Threads::x    find_dependency(Threads)    -pthread
include(CMakePackageConfigHelpers)

get_property(public_dependencies GLOBAL PROPERTY doorbell_public_dependencies)
get_property(private_dependencies GLOBAL PROPERTY doorbell_private_dependencies)
get_property(header_only GLOBAL PROPERTY doorbell_header_only)

# pkg_modules(output target...): the pkg-config modules behind the targets.
function(pkg_modules output)
  set(modules ${ARGN})
  list(FILTER modules INCLUDE REGEX "^(absl|PkgConfig)::")
  list(TRANSFORM modules REPLACE "^absl::" "absl_")
  list(TRANSFORM modules REPLACE "^PkgConfig::" "")
  list(REMOVE_DUPLICATES modules)
  list(JOIN modules ", " modules)
  set(${output} "${modules}" PARENT_SCOPE)
endfunction()

# Whoever links an archive links what is behind it too, also without pkg-config's --static: there is no other doorbell.
if(BUILD_SHARED_LIBS)
  pkg_modules(DOORBELL_PC_REQUIRES ${public_dependencies})
  pkg_modules(DOORBELL_PC_REQUIRES_PRIVATE ${private_dependencies})
  set(needed ${public_dependencies})
else()
  pkg_modules(DOORBELL_PC_REQUIRES ${public_dependencies} ${private_dependencies})
  set(DOORBELL_PC_REQUIRES_PRIVATE "")
  set(needed ${public_dependencies} ${private_dependencies})
endif()

list(REMOVE_DUPLICATES needed)
set(found "")
foreach(dependency IN LISTS needed)
  string(REGEX MATCH "^(.+)::(.+)$" matched "${dependency}")
  if(CMAKE_MATCH_1 STREQUAL "PkgConfig")
    list(APPEND found "find_dependency(PkgConfig)\npkg_check_modules(${CMAKE_MATCH_2} REQUIRED IMPORTED_TARGET ${CMAKE_MATCH_2})")
  elseif(CMAKE_MATCH_1 STREQUAL "Boost")
    list(APPEND found "find_dependency(Boost 1.81)")
  else()
    list(APPEND found "find_dependency(${CMAKE_MATCH_1})")
  endif()
endforeach()
list(REMOVE_DUPLICATES found)
list(JOIN found "\n" DOORBELL_FIND_DEPENDENCIES)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/doorbell")
install(TARGETS doorbell ${header_only} EXPORT doorbell FILE_SET HEADERS)
install(EXPORT doorbell NAMESPACE doorbell:: FILE doorbellTargets.cmake DESTINATION "${package_dir}")
configure_package_config_file(cmake/doorbellConfig.cmake.in doorbellConfig.cmake INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file(doorbellConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/doorbellConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/doorbellConfigVersion.cmake"
  DESTINATION "${package_dir}")

# Found from where the file is, so that an installed tree may be moved.
set(pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
  BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${pkgconfig_dir}" OUTPUT_VARIABLE DOORBELL_PC_UP)
configure_file(cmake/doorbell.pc.in doorbell.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/doorbell.pc" DESTINATION "${pkgconfig_dir}")
