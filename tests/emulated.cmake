# SPDX-License-Identifier: Apache-2.0
#
# Settings for tests of programs for another processor, in qemu-user. The emulator executes the instructions of the
# program itself, and forwards the system calls that it knows to the host's kernel. This file and not_emulated.cmake
# list everything that the tests need and qemu-user lacks, each with its reason. ctest lists the tests that are left out
# by name as "Not Run (Disabled)".

# io_uring_setup(2) fails with ENOSYS.
set(test_engines threads)

# io_setup(2) fails with ENOSYS, so no test compares with the kernel's AIO, and no wrapper has to refuse it. The kernel
# cannot start a program for another processor by execve(2), so the emulator takes the place of the wrapper.
set(has_kernel_aio OFF)
set(without_kernel_aio ${CMAKE_CROSSCOMPILING_EMULATOR})

# The emulator is about ten times as slow as the processor.
set(random_programs 200)

# Leave out the conformance rows that run against the kernel: they would test qemu-user.
set(all_tests -*/kernel)

# Runs scripts whose programs start other programs: with_binfmt makes the kernel start programs for the other processor
# through the emulator.
set(where_programs_run "${CMAKE_CURRENT_SOURCE_DIR}/support/with_binfmt" ${CMAKE_CROSSCOMPILING_EMULATOR}
  $<TARGET_FILE:without_kernel_aio>)

set(not_emulated_list "${CMAKE_CURRENT_LIST_DIR}/not_emulated.cmake")
include("${not_emulated_list}")
