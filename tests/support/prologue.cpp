// SPDX-License-Identifier: Apache-2.0
//
// Empty: the headers that most tests include are compiled with it (tests/CMakeLists.txt).
