# SPDX-License-Identifier: Apache-2.0
#
# The install rules, the CMake package and the pkg-config file. The targets that the layers link determine the packages
# that consumers must find:
#   absl::x       find_package(absl)       Requires: absl_x
#   PkgConfig::x  pkg_check_modules(x)     Requires: x
#   Boost::x      find_package(Boost)      none: header-only; only doorbell::asio needs it
#   Threads::x    find_package(Threads)    -pthread
#
# Install components:
#   runtime      the shared library
#   development  headers, the archive or the link that -ldoorbell finds, CMake package, pkg-config file
#   run          doorbell-run, its libaio.so.1 and its man page (libaio/CMakeLists.txt)
include(CMakePackageConfigHelpers)

get_property(public_dependencies GLOBAL PROPERTY doorbell_public_dependencies)
get_property(private_dependencies GLOBAL PROPERTY doorbell_private_dependencies)

# With an archive, consumers also link all of its dependencies, even without pkg-config's --static, because no shared
# doorbell is installed beside the archive. A shared library loads its dependencies itself.
if(BUILD_SHARED_LIBS)
  set(needed ${public_dependencies})
else()
  set(needed ${public_dependencies} ${private_dependencies})
endif()
list(REMOVE_DUPLICATES needed)

set(DOORBELL_PACKAGES ${needed})
list(FILTER DOORBELL_PACKAGES EXCLUDE REGEX "^PkgConfig::")
list(TRANSFORM DOORBELL_PACKAGES REPLACE "::.*" "")
list(REMOVE_DUPLICATES DOORBELL_PACKAGES)
list(JOIN DOORBELL_PACKAGES " " DOORBELL_PACKAGES)

set(DOORBELL_PC_MODULES ${needed})
list(FILTER DOORBELL_PC_MODULES INCLUDE REGEX "^PkgConfig::")
list(TRANSFORM DOORBELL_PC_MODULES REPLACE "^PkgConfig::" "")
list(JOIN DOORBELL_PC_MODULES " " DOORBELL_PC_MODULES)

set(DOORBELL_PC_REQUIRES ${needed})
list(FILTER DOORBELL_PC_REQUIRES INCLUDE REGEX "^(absl|PkgConfig)::")
list(TRANSFORM DOORBELL_PC_REQUIRES REPLACE "^absl::" "absl_")
list(TRANSFORM DOORBELL_PC_REQUIRES REPLACE "^PkgConfig::" "")
list(JOIN DOORBELL_PC_REQUIRES ", " DOORBELL_PC_REQUIRES)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/doorbell")
install(TARGETS doorbell EXPORT doorbell
  LIBRARY COMPONENT runtime NAMELINK_COMPONENT development
  ARCHIVE COMPONENT development
  FILE_SET HEADERS COMPONENT development)
install(EXPORT doorbell NAMESPACE doorbell:: FILE doorbellTargets.cmake
  DESTINATION "${package_dir}" COMPONENT development)
if(DOORBELL_WITH_ASIO)
  install(TARGETS doorbell_asio EXPORT doorbell_asio FILE_SET HEADERS COMPONENT development)
  install(EXPORT doorbell_asio NAMESPACE doorbell:: FILE doorbellAsioTargets.cmake
    DESTINATION "${package_dir}" COMPONENT development)
endif()
configure_package_config_file(cmake/doorbellConfig.cmake.in doorbellConfig.cmake INSTALL_DESTINATION "${package_dir}"
  NO_CHECK_REQUIRED_COMPONENTS_MACRO NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(doorbellConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/doorbellConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/doorbellConfigVersion.cmake"
  DESTINATION "${package_dir}" COMPONENT development)

# The paths in the file are relative to the file, so that an installed tree may be moved.
set(pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
  BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${pkgconfig_dir}" OUTPUT_VARIABLE DOORBELL_PC_UP)
configure_file(cmake/doorbell.pc.in doorbell.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/doorbell.pc" DESTINATION "${pkgconfig_dir}" COMPONENT development)
