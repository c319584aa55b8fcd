# SPDX-License-Identifier: Apache-2.0
#
# Tests of a program for another processor, in qemu-user. It carries out the program's instructions itself, and its system calls by
# the host's kernel, those that it knows. What a test needs and qemu does not have is written here, and nowhere else; so is why.
# Tests that are left out by name are listed as "Not Run (Disabled)" by ctest.

# Optimizing tests takes a third of the time to build them, and the emulator spends its own on whatever they do. The product is
# optimized as it is elsewhere.
add_compile_options(-O1)

# io_uring_setup(2) is ENOSYS.
set(test_engines threads)

# As io_setup(2): so nothing is compared with the kernel's AIO, and there is none to be refused to a program. Programs that the
# kernel itself would have to start (execve(2) of another processor's program) are started by the emulator.
set(has_kernel_aio OFF)
set(without_kernel_aio ${CMAKE_CROSSCOMPILING_EMULATOR})

# It is some ten times as slow.
set(random_programs 200)

# Rows on the kernel's side: they would show what qemu does.
set(all_tests -*/kernel)

# Scripts that have programs start programs: where the kernel starts those of the other processor by way of the emulator.
set(where_programs_run "${CMAKE_CURRENT_SOURCE_DIR}/support/with_binfmt" ${CMAKE_CROSSCOMPILING_EMULATOR}
  $<TARGET_FILE:without_kernel_aio>)

set(not_emulated_list "${CMAKE_CURRENT_LIST_DIR}/not_emulated.cmake")
include("${not_emulated_list}")
