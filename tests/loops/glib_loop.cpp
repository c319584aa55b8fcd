// SPDX-License-Identifier: Apache-2.0
//
// GLib: a GSource for each descriptor, in a separate GMainContext; level-triggered.
#include <glib-unix.h>
#include <glib.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <utility>

#include "loop.hpp"

namespace doorbell::test {
namespace {

class glib_loop final : public loop {
 public:
  ~glib_loop() override {
    for (auto* source : sources_) {
      g_source_destroy(source);
      g_source_unref(source);
    }
  }
  glib_loop() = default;
  glib_loop(const glib_loop&) = delete;
  glib_loop& operator=(const glib_loop&) = delete;

  // Does what g_unix_fd_add() does, but in the loop's own context.
  void watch(int fd, std::function<void()> on_readable) override {
    auto& callback = on_readable_.emplace_back(std::move(on_readable));
    auto* const source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(source, reinterpret_cast<GSourceFunc>(reinterpret_cast<void (*)()>(&called)), &callback,
                          nullptr);
    EXPECT_GT(g_source_attach(source, context_.get()), 0U);
    sources_.push_back(source);
  }
  void run() override { g_main_loop_run(loop_.get()); }
  void run_ready() override { g_main_context_iteration(context_.get(), FALSE); }
  void stop() override { g_main_loop_quit(loop_.get()); }

 private:
  static gboolean called(gint /*fd*/, GIOCondition /*what*/, gpointer callback) {
    (*static_cast<std::function<void()>*>(callback))();
    return G_SOURCE_CONTINUE;
  }

  const std::unique_ptr<GMainContext, decltype(&g_main_context_unref)> context_{g_main_context_new(),
                                                                                &g_main_context_unref};
  const std::unique_ptr<GMainLoop, decltype(&g_main_loop_unref)> loop_{g_main_loop_new(context_.get(), FALSE),
                                                                       &g_main_loop_unref};
  std::deque<std::function<void()>> on_readable_;
  std::deque<GSource*> sources_;
};

}  // namespace

std::unique_ptr<loop> make_glib_loop() { return std::make_unique<glib_loop>(); }

}  // namespace doorbell::test
