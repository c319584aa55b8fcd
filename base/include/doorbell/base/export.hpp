// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

/// Marks what the shared library shows; everything else is hidden.
#define DOORBELL_EXPORT __attribute__((visibility("default")))
