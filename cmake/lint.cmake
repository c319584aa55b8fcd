# SPDX-License-Identifier: Apache-2.0
#
# The tests of the preset lint: clang-format, clang-tidy, and checks of the documents. Also a target `format` that
# rewrites the sources in place. No test builds anything: clang-tidy reads the compile commands.
#
# The findings of clang-format and clang-tidy depend on their version, so version 19 is used if it is installed.
include("${CMAKE_CURRENT_LIST_DIR}/find_clang.cmake")
foreach(tool IN ITEMS clang-format clang-tidy run-clang-tidy)
  string(MAKE_C_IDENTIFIER "${tool}" variable)
  string(TOUPPER "${variable}" variable)
  doorbell_find_clang(${variable} ${tool} 19)
  if(NOT ${variable})
    message(FATAL_ERROR "${tool} is not installed; scripts/deps check installs it")
  endif()
endforeach()

set(patterns "")
foreach(folder IN ITEMS base eventfd notifier aio asio libaio examples bench tests sanitizers)
  list(APPEND patterns "${PROJECT_SOURCE_DIR}/${folder}/*.hpp" "${PROJECT_SOURCE_DIR}/${folder}/*.cpp")
endforeach()
file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${patterns})

add_test(NAME clang-format COMMAND ${CLANG_FORMAT} --dry-run -Werror ${sources})
add_custom_target(format COMMAND ${CLANG_FORMAT} -i ${sources})

find_package(Python3 REQUIRED COMPONENTS Interpreter)
# docs/races.md agrees with the headers of the mutants.
add_test(NAME race_tables COMMAND Python3::Interpreter -B "${PROJECT_SOURCE_DIR}/sanitizers/race_tables")
# docs/architecture.md and docs/layers.svg agree with the CMakeLists.txt files, the #include lines and the mutants.
add_test(NAME architecture COMMAND Python3::Interpreter -B "${PROJECT_SOURCE_DIR}/docs/architecture.py")
# docs/proof.md agrees with the scenarios of the model checker, their numbers of schedules and the mutants.
add_test(NAME proof COMMAND Python3::Interpreter -B "${PROJECT_SOURCE_DIR}/docs/proof.py")
# The tests, scenarios, mutants and files that documents cite exist, and so do the tests that mutants name.
add_test(NAME cited_names COMMAND Python3::Interpreter -B "${PROJECT_SOURCE_DIR}/docs/cited_names.py")
# At most 8 of 1000 sentences have one of the patterns in docs/sentences.py that are hard to read.
add_test(NAME sentences COMMAND Python3::Interpreter -B "${PROJECT_SOURCE_DIR}/docs/sentences.py")
# No line has more than 120 columns. clang-format checks the columns of C++ only, and not those of each comment.
add_test(NAME line_lengths COMMAND Python3::Interpreter -B "${PROJECT_SOURCE_DIR}/docs/line_lengths.py")
# The tests of these scripts.
foreach(script IN ITEMS cited_names line_lengths proof sentences)
  add_test(NAME ${script}_test
    COMMAND Python3::Interpreter -B "${PROJECT_SOURCE_DIR}/tests/scripts/${script}_test.py" "${PROJECT_SOURCE_DIR}")
endforeach()
# clang-tidy checks each file once, although the model checker compiles the layers a second time with other options. It
# leaves out files that CMake generates below the build folder.
set(commands "${PROJECT_BINARY_DIR}/lint")
add_test(NAME clang-tidy.commands
  COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/cmake/first_commands.py"
          "${PROJECT_BINARY_DIR}/compile_commands.json" "${commands}")
# One test checks the product and one checks the tests, which takes longer. .ci/run leaves both out.
function(doorbell_add_clang_tidy name folders)
  add_test(NAME ${name}
    COMMAND ${RUN_CLANG_TIDY} -clang-tidy-binary ${CLANG_TIDY} -p ${commands} -quiet
            "^${PROJECT_SOURCE_DIR}/${folders}/")
  set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED commands TIMEOUT 3000 PROCESSORS 2)
endfunction()
doorbell_add_clang_tidy(clang-tidy.product "(base|eventfd|notifier|aio|asio|libaio|examples|bench)")
doorbell_add_clang_tidy(clang-tidy.tests "(tests|sanitizers)")
set_tests_properties(clang-tidy.commands PROPERTIES FIXTURES_SETUP commands)
set_tests_properties(clang-format clang-tidy.product clang-tidy.tests clang-tidy.commands race_tables architecture
  proof cited_names sentences line_lengths cited_names_test line_lengths_test proof_test sentences_test
  PROPERTIES LABELS lint)
