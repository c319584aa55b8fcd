# SPDX-License-Identifier: Apache-2.0
#
# Configures the Debian packages that CPack builds from the components `runtime`, `development` and `run`.
# scripts/package sets the compiler flags and checks the result. Off by default, because the files installed here belong
# only in packages.
doorbell_option(DOORBELL_DEB
  "Configure CPack for Debian packages; needs BUILD_SHARED_LIBS, DOORBELL_BUILD_LIBAIO and doorbell::asio" OFF)
if(NOT DOORBELL_DEB)
  return()
endif()
if(NOT BUILD_SHARED_LIBS OR NOT DOORBELL_BUILD_LIBAIO OR NOT DOORBELL_WITH_ASIO)
  message(FATAL_ERROR "DOORBELL_DEB needs BUILD_SHARED_LIBS=ON, DOORBELL_BUILD_LIBAIO=ON and doorbell::asio")
endif()

get_target_property(abi doorbell SOVERSION)
set(runtime libdoorbell${abi})
set(development libdoorbell-dev)
set(run doorbell-run)

# The Debian release that the packages are for. Its number is part of the package version, so that an upgrade of the
# system also upgrades the packages: 0.1.0-1~deb12 is older than 0.1.0-1~deb13. Debian testing and unstable have no
# number.
cmake_host_system_information(RESULT system QUERY DISTRIB_INFO)
set(distribution "${system_VERSION_CODENAME}")
if(NOT distribution)
  set(distribution unstable)
endif()
set(revision 1)
if(system_VERSION_ID)
  string(REGEX REPLACE "^debian" "deb" suffix "${system_ID}${system_VERSION_ID}")
  string(APPEND revision "~${suffix}")
endif()

# The dependencies of the headers. A notifier contains two absl::AnyInvocables, which the library calls, so a program
# must be compiled with the Abseil release that the library was compiled with. Only doorbell::asio needs Boost. If the
# default Boost of a Debian release is too old, the second alternative names the versioned package.
math(EXPR next_absl "${absl_VERSION} + 1")
set(needed "${runtime} (= ${PROJECT_VERSION}-${revision})")
string(APPEND needed ", libabsl-dev (>= ${absl_VERSION}), libabsl-dev (<< ${next_absl})")
set(boost "libboost-dev (>= ${DOORBELL_ASIO_BOOST}) | libboost${Boost_VERSION_MAJOR}.${Boost_VERSION_MINOR}-dev")

set(maintainer "doorbell developers <doorbell@packages.invalid>")
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
foreach(file IN ITEMS changelog.Debian shlibs triggers libaio-path.conf)
  configure_file(packaging/${file}.in packaging/${file} @ONLY)
endforeach()

# packaging/finish_tree.cmake compresses the changelogs later.
foreach(component IN ITEMS runtime development run)
  set(package ${${component}})
  set(documents "${CMAKE_INSTALL_DATADIR}/doc/${package}")
  install(FILES packaging/copyright "${PROJECT_BINARY_DIR}/packaging/changelog.Debian"
    DESTINATION "${documents}" COMPONENT ${component})
  install(FILES CHANGELOG.md DESTINATION "${documents}" RENAME changelog COMPONENT ${component})
endforeach()
install(FILES packaging/runtime.lintian-overrides
  DESTINATION "${CMAKE_INSTALL_DATADIR}/lintian/overrides" RENAME ${runtime} COMPONENT runtime)
install(FILES packaging/Containerfile packaging/doorbell-run.conf "${PROJECT_BINARY_DIR}/packaging/libaio-path.conf"
  DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${run}/examples" COMPONENT run)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME doorbell)
set(CPACK_PACKAGE_VENDOR doorbell)
# Empty: the first line of each package's description is its summary.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(CPACK_PACKAGE_CONTACT "${maintainer}")
set(CPACK_PACKAGING_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")
# The permissions of folders, so that they do not depend on the umask of the build.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL runtime development run)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_PRE_BUILD_SCRIPTS "${PROJECT_SOURCE_DIR}/packaging/finish_tree.cmake")
set(CPACK_POST_BUILD_SCRIPTS "${PROJECT_SOURCE_DIR}/packaging/finish_package.cmake")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SOURCE doorbell)
set(CPACK_DEBIAN_PACKAGE_RELEASE "${revision}")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME ${runtime})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
  "${PROJECT_BINARY_DIR}/packaging/shlibs;${PROJECT_BINARY_DIR}/packaging/triggers")
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION
"eventfd, notifiers and AIO contexts in user space (shared library)
doorbell implements three kernel objects in user space, with the kernel's
semantics and, where possible, without its system calls: eventfd, notifiers on
the wait queue of an eventfd, and AIO contexts whose completions signal
eventfds. Requests are executed by io_uring, or by threads where the system
refuses io_uring.

This package contains the shared library.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME ${development})
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${needed}")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_RECOMMENDS "${boost}")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION
"eventfd, notifiers and AIO contexts in user space (development files)
doorbell implements three kernel objects in user space, with the kernel's
semantics and, where possible, without its system calls: eventfd, notifiers on
the wait queue of an eventfd, and AIO contexts whose completions signal
eventfds.

This package contains the C++20 headers, the CMake package and the pkg-config
file. The headers below doorbell/asio need Boost 1.81 or later; the others
do not need Boost.")

set(CPACK_DEBIAN_RUN_PACKAGE_NAME ${run})
set(CPACK_DEBIAN_RUN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_RUN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUN_DESCRIPTION
"run a program with a libaio that works in user space
doorbell-run starts a program that is linked with libaio, and lets doorbell
execute its requests: by io_uring, or by threads where the system refuses
io_uring. The program is not compiled or linked again.

This package contains the program doorbell-run and the library libaio.so.1
in a folder of its own, where no program finds it unless doorbell-run or
LD_LIBRARY_PATH names it.")

include(CPack)
