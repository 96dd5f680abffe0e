#pragma once
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "common/acceptor.h"
#include "common/ipc_channel.h"
#include "common/uv_handle.h"

namespace dongle {

/// The server side of worker.sock: accepts workers, checks who they are, hands each on after its Hello.
class WorkerLink {
 public:
  /// A worker that said Hello and whose uid is the one of its id. fds: the listening sockets it holds.
  struct Registration {
    Hello hello;
    int pid = 0;  ///< from the kernel, not from the message
    UniqueFd socket;
    std::vector<UniqueFd> fds;
  };
  using OnRegister = std::function<void(Registration)>;

  /// Creates PATH (replacing a dead one). Workers of any uid may connect; the uid decides which id they may claim.
  static Result<std::unique_ptr<WorkerLink>> listen(UvLoop& loop, const std::string& path, std::uint32_t uid_base,
                                                    OnRegister on_register);
  ~WorkerLink();

 private:
  struct Newcomer;
  WorkerLink(UvLoop& loop, UniqueFd listener, std::string path, std::uint32_t uid_base, OnRegister on_register);
  void welcome(UniqueFd client);
  void read_hello(Newcomer& newcomer);
  void forget(Newcomer& newcomer);

  UvLoop& loop_;
  std::string path_;
  std::uint32_t uid_base_;
  OnRegister on_register_;
  std::list<std::unique_ptr<Newcomer>> newcomers_;
  Acceptor acceptor_;
};

}  // namespace dongle
