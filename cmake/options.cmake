# SPDX-License-Identifier: Apache-2.0
#
# The options. docs/install.md describes the options that users of doorbell set.

# doorbell_option(name text default): calls option() in a top-level build. In a parent project it sets a plain variable,
# unless the parent has set it before add_subdirectory() or on the command line, and adds nothing to the parent's cache.
macro(doorbell_option name text default)
  if(PROJECT_IS_TOP_LEVEL)
    option(${name} "${text}" ${default})
  elseif(NOT DEFINED ${name})
    set(${name} ${default})
  endif()
endmacro()

# In a parent project, doorbell uses the parent's BUILD_SHARED_LIBS.
if(PROJECT_IS_TOP_LEVEL)
  option(BUILD_SHARED_LIBS "Build doorbell as a shared library" OFF)
endif()
doorbell_option(DOORBELL_INSTALL "Add the install rules" ${PROJECT_IS_TOP_LEVEL})
doorbell_option(DOORBELL_BUILD_LIBAIO "Build libaio.so.1 and doorbell-run" ${PROJECT_IS_TOP_LEVEL})
doorbell_option(DOORBELL_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
doorbell_option(DOORBELL_BUILD_EXAMPLES "Build the example programs" ${PROJECT_IS_TOP_LEVEL})
doorbell_option(DOORBELL_BUILD_BENCH "Build the benchmarks" ${PROJECT_IS_TOP_LEVEL})
doorbell_option(DOORBELL_BUILD_MODEL "Build the model checker, with doorbell's code in it" OFF)
doorbell_option(DOORBELL_WERROR "Treat warnings in doorbell's own sources as errors" OFF)
doorbell_option(DOORBELL_FUZZ "Build the fuzz targets with libFuzzer (clang), and no other tests" OFF)
doorbell_option(DOORBELL_LINT "Add clang-format, clang-tidy and the checks of the documents to the tests" OFF)

# AUTO, ON or OFF.
if(PROJECT_IS_TOP_LEVEL)
  set(DOORBELL_BUILD_ASIO AUTO CACHE STRING "Offer doorbell::asio: AUTO (if Boost is new enough), ON (or fail), OFF")
  set_property(CACHE DOORBELL_BUILD_ASIO PROPERTY STRINGS AUTO ON OFF)
elseif(NOT DEFINED DOORBELL_BUILD_ASIO)
  set(DOORBELL_BUILD_ASIO AUTO)
endif()

if(PROJECT_IS_TOP_LEVEL)
  set(DOORBELL_SANITIZE "" CACHE STRING "Sanitizer for doorbell and all that link it: thread, address, undefined")
endif()

string(TOUPPER "${DOORBELL_BUILD_ASIO}" asio_choice)
if(NOT asio_choice MATCHES "^(AUTO|ON|OFF|TRUE|FALSE|YES|NO|1|0)$")
  message(FATAL_ERROR "DOORBELL_BUILD_ASIO is AUTO, ON or OFF, not \"${DOORBELL_BUILD_ASIO}\".")
endif()

# In a parent project, the short names of the tests, the model checker and the lint targets (asio_test, model, format)
# may clash with the parent's, and their commands use the build folder of a top-level build.
if(NOT PROJECT_IS_TOP_LEVEL)
  foreach(option IN ITEMS DOORBELL_BUILD_TESTS DOORBELL_BUILD_MODEL DOORBELL_FUZZ DOORBELL_LINT)
    if(${option})
      message(FATAL_ERROR "${option} requires doorbell to be the top-level project.")
    endif()
  endforeach()
endif()

# doorbell_decide_asio(): sets DOORBELL_WITH_ASIO to whether doorbell::asio is built, from DOORBELL_BUILD_ASIO and the
# version of Boost that was found.
macro(doorbell_decide_asio)
  set(DOORBELL_WITH_ASIO ON)
  if(asio_choice STREQUAL "AUTO")
    if(Boost_VERSION VERSION_LESS DOORBELL_ASIO_BOOST)
      set(DOORBELL_WITH_ASIO OFF)
      message(STATUS "doorbell::asio and its users are not built: it requires Boost ${DOORBELL_ASIO_BOOST}, "
                     "found ${Boost_VERSION}")
    endif()
  elseif(NOT DOORBELL_BUILD_ASIO)
    set(DOORBELL_WITH_ASIO OFF)
  elseif(Boost_VERSION VERSION_LESS DOORBELL_ASIO_BOOST)
    message(FATAL_ERROR "DOORBELL_BUILD_ASIO is ON, but doorbell::asio requires Boost ${DOORBELL_ASIO_BOOST}; "
                        "found ${Boost_VERSION}. AUTO or OFF builds without it.")
  endif()
endmacro()
