# SPDX-License-Identifier: Apache-2.0
#
# clang-format and clang-tidy as two tests, and a target `format` that rewrites the sources in place.
# Nothing has to be built for them: clang-tidy reads the compile commands.
find_program(CLANG_FORMAT clang-format-19 REQUIRED)
find_program(RUN_CLANG_TIDY run-clang-tidy-19 REQUIRED)
find_program(CLANG_TIDY clang-tidy-19 REQUIRED)

set(patterns "")
foreach(room IN ITEMS base eventfd notifier aio asio libaio examples bench tests sanitizers)
  list(APPEND patterns "${PROJECT_SOURCE_DIR}/${room}/*.hpp" "${PROJECT_SOURCE_DIR}/${room}/*.cpp")
endforeach()
file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${patterns})

add_test(NAME clang-format COMMAND ${CLANG_FORMAT} --dry-run -Werror ${sources})
add_custom_target(format COMMAND ${CLANG_FORMAT} -i ${sources})

# Not the files that CMake generates below the build folder.
add_test(NAME clang-tidy
  COMMAND ${RUN_CLANG_TIDY} -clang-tidy-binary ${CLANG_TIDY} -p ${PROJECT_BINARY_DIR} -quiet
          "^${PROJECT_SOURCE_DIR}/(?!build/)")
set_tests_properties(clang-format clang-tidy PROPERTIES LABELS lint)
set_tests_properties(clang-tidy PROPERTIES TIMEOUT 1200 PROCESSORS 2)
