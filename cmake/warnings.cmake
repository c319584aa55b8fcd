# SPDX-License-Identifier: Apache-2.0

# doorbell_enable_warnings(target): the project's warnings, for this target only, not for targets that link it.
# -Wnon-virtual-dtor is left out for g++, which treats a protected destructor as public if the class has a friend.
function(doorbell_enable_warnings target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Woverloaded-virtual
    -Wextra-semi -Wimplicit-fallthrough
    $<$<CXX_COMPILER_ID:GNU>:-Wcast-align=strict -Wduplicated-cond -Wlogical-op>
    $<$<CXX_COMPILER_ID:Clang>:-Wcast-align -Wnon-virtual-dtor -Wthread-safety -Wthread-safety-beta>
    $<$<BOOL:${DOORBELL_WERROR}>:-Werror>)
endfunction()
