// SPDX-License-Identifier: Apache-2.0
//
// Nothing: what is compiled with it is what tests begin with (tests/CMakeLists.txt).
