// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

/// Marks the symbols that the shared library exports; everything else is hidden.
#define DOORBELL_EXPORT __attribute__((visibility("default")))
