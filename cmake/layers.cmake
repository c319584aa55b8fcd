# SPDX-License-Identifier: Apache-2.0
#
# Each layer is a target that sees only its own headers and those of the layers it names, so a wrong include does not
# compile. The product, doorbell::doorbell, is one library made of the layers' objects.

# The number in the name of the shared library (libdoorbell.so.0) and in the name of its package. It counts binary
# interfaces, not versions: a release that breaks programs linked with the previous one (it removes an exported
# function, or changes the size or layout of a public class) increases it; a release that only adds functions keeps it.
set(DOORBELL_ABI 0)

add_library(doorbell)
add_library(doorbell::doorbell ALIAS doorbell)
target_compile_features(doorbell PUBLIC cxx_std_20)
set_target_properties(doorbell PROPERTIES
  LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION}
  SOVERSION ${DOORBELL_ABI})

# doorbell_sanitize(target): with DOORBELL_SANITIZE, compiles and links the target, and all targets that link it, with
# that sanitizer. A sanitizer that has not instrumented the library's atomic operations reports races in programs that
# have none.
function(doorbell_sanitize target)
  if(DOORBELL_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${DOORBELL_SANITIZE})
    target_link_options(${target} PUBLIC -fsanitize=${DOORBELL_SANITIZE})
  endif()
endfunction()
doorbell_sanitize(doorbell)

# doorbell_add_layer(name
#   SOURCES file...     if empty, the layer is header-only and a product of its own (doorbell::name), on top of
#                       doorbell::doorbell
#   HEADERS file...     under include/doorbell/; installed, and each compiled alone by the tests
#   USES layer...       layers below this one, whose headers it may include
#   PUBLIC target...    third-party targets that the headers need
#   PRIVATE target...)  third-party targets that only the sources need. Targets of Boost are header-only, so
#                       programs that link the product do not need them
#
# Adds the target doorbell_<name>. Tests of code that is not exported link this target; all others link the products.
function(doorbell_add_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 layer "" "" "SOURCES;HEADERS;USES;PUBLIC;PRIVATE")
  if(layer_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "doorbell_add_layer(${name}): unknown arguments ${layer_UNPARSED_ARGUMENTS}")
  endif()
  set(target doorbell_${name})
  set(headers FILE_SET HEADERS BASE_DIRS "${CMAKE_CURRENT_SOURCE_DIR}/include" FILES ${layer_HEADERS})

  if(NOT layer_SOURCES)
    add_library(${target} INTERFACE)
    add_library(doorbell::${name} ALIAS ${target})
    set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL})
    target_sources(${target} INTERFACE ${headers})
    target_link_libraries(${target} INTERFACE doorbell ${layer_PUBLIC})
    return()
  endif()

  # Static even if the product is shared: tests link a layer with all that it uses, including hidden symbols.
  list(TRANSFORM layer_USES PREPEND doorbell_)
  add_library(${target} STATIC ${layer_SOURCES})
  target_sources(${target} PUBLIC ${headers})
  target_link_libraries(${target} PUBLIC ${layer_USES} ${layer_PUBLIC} PRIVATE ${layer_PRIVATE})
  target_compile_features(${target} PUBLIC cxx_std_20)
  # Position-independent even if the product is static, for libaio.so.1, which is always shared. Other libraries must
  # not replace doorbell's functions, so the compiler may inline them.
  set_target_properties(${target} PROPERTIES
    VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL} POSITION_INDEPENDENT_CODE ON)
  # Thread-local variables are initial-exec, since doorbell is loaded with the program. The general model calls a
  # function, which allocates memory at the first access if the library was loaded later; signal handlers, which read
  # some of the variables, must not allocate.
  target_compile_options(${target} PRIVATE -fno-semantic-interposition -ftls-model=initial-exec)
  doorbell_enable_warnings(${target})
  doorbell_sanitize(${target})

  list(TRANSFORM layer_HEADERS PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
  target_sources(doorbell
    PRIVATE $<TARGET_OBJECTS:${target}>
    PUBLIC FILE_SET HEADERS BASE_DIRS "${CMAKE_CURRENT_SOURCE_DIR}/include" FILES ${layer_HEADERS})
  list(FILTER layer_PRIVATE EXCLUDE REGEX "^Boost::")
  target_link_libraries(doorbell PUBLIC ${layer_PUBLIC} PRIVATE ${layer_PRIVATE})
  set_property(GLOBAL APPEND PROPERTY doorbell_public_dependencies ${layer_PUBLIC})
  set_property(GLOBAL APPEND PROPERTY doorbell_private_dependencies ${layer_PRIVATE})
endfunction()
