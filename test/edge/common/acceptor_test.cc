#include "common/acceptor.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <vector>

namespace dongle {
namespace {

// Out of descriptors, a listening socket that stays readable must not keep the loop busy; what waited is served later.
TEST(Acceptor, PausesWhenDescriptorsRunOutAndServesTheWaitingOneLater) {
  UvLoop loop;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;  // no name: the kernel picks one
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)), 0);
  ASSERT_EQ(listen(listener.get(), 4), 0);
  socklen_t length = sizeof address;
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
  UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), length), 0);

  int turns = 0;
  bool accepted = false;
  Acceptor acceptor(loop, std::move(listener), [&](UniqueFd) {
    accepted = true;
    loop.stop();
  });

  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  std::vector<UniqueFd> hoard;
  rlimit tight{64, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &tight);
  for (UniqueFd fd(dup(0)); fd; fd.reset(dup(0))) hoard.emplace_back(fd.release());

  // Each turn of the loop would find the socket readable again if nobody paused.
  uv_prepare_t counter;
  uv_prepare_init(loop.raw(), &counter);
  counter.data = &turns;
  uv_prepare_start(&counter, [](uv_prepare_t* h) { ++*static_cast<int*>(h->data); });
  Timer relief(loop);
  relief.start(Millis{100}, [&] {
    EXPECT_FALSE(accepted);
    EXPECT_LT(turns, 10);
    hoard.clear();
    setrlimit(RLIMIT_NOFILE, &before);
  });
  Timer limit(loop);
  limit.start(Seconds(5), [&] { loop.stop(); });
  loop.run();
  EXPECT_TRUE(accepted);
  uv_close(reinterpret_cast<uv_handle_t*>(&counter), nullptr);
  uv_run(loop.raw(), UV_RUN_NOWAIT);
}

}  // namespace
}  // namespace dongle
