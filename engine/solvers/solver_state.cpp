#include <cstdio>

#include "core/log.h"
#include "io/files.h"
#include "io/snapshot.h"
#include "solvers/solver.h"

namespace caffe {

std::string Solver::snapshot_name(const std::string& extension) const {
  const bool hdf5 = param_.snapshot_format() == SolverParameter::HDF5;
  return concat(param_.snapshot_prefix(), "_iter_", iter_, extension, hdf5 ? ".h5" : "");
}

// Says at the start, not after hours, that snapshots cannot be written.
void Solver::check_snapshot_folder() const {
  if (param_.snapshot() <= 0 || options_.rank != 0) return;
  CAFFE_REQUIRE(!param_.snapshot_prefix().empty(), "snapshot is set, so snapshot_prefix is needed");
  const std::string probe = param_.snapshot_prefix() + "_iter_0.tempfile";
  try {
    write_file(probe, "");
  } catch (Error& error) {
    error.prepend("Cannot write to snapshot prefix '" + param_.snapshot_prefix() +
                  "'. Make sure that the folder exists " + "and is writable:");
    throw;
  }
  std::remove(probe.c_str());
}

std::string Solver::snapshot() {
  const std::string model = snapshot_name(".caffemodel");
  const std::string state = snapshot_name(".solverstate");
  update_->gather_history();
  if (options_.rank != 0) return model;
  const char* format = param_.snapshot_format() == SolverParameter::HDF5 ? "HDF5" : "binary proto";
  CAFFE_LOG_INFO("Snapshotting to ", format, " file ", model);
  CAFFE_LOG_INFO("Snapshotting solver state to ", format, " file ", state);
  write_snapshot(model, state, model);
  return model;
}

void Solver::write_snapshot(const std::string& model_path, const std::string& state_path,
                            const std::string& learned_net) {
  CAFFE_REQUIRE(state_path.empty() || update_->history_is_whole(), "cannot write ", state_path,
                ": what the solver remembers is spread over the workers; ask for it with "
                "keep_state before the last iteration");
  write_model(model_path, net_->to_proto(param_.snapshot_diff()));
  if (state_path.empty()) return;
  SolverState state;
  state.set_iter(static_cast<int32_t>(iter_));
  state.set_learned_net(learned_net);
  state.set_current_step(current_step_);
  for (const auto& blob : history_) to_proto(*blob, false, state.add_history());
  write_state(state_path, state);
}

void Solver::restore(const std::string& state_path) {
  const SolverState state = read_state(state_path);
  CAFFE_REQUIRE_CODE(state.history_size() == static_cast<int>(history_.size()), ErrorCode::kData,
                     state_path, " has ", state.history_size(), " history blobs; solver ",
                     param_.type(), " on this net needs ", history_.size(),
                     ". It was written by another net or solver type");
  CAFFE_REQUIRE_CODE(state.iter() >= 0 && state.current_step() >= 0, ErrorCode::kData, state_path,
                     " is damaged: it is at iteration ", state.iter(), " and step ",
                     state.current_step());
  CAFFE_LOG_INFO("Restoring solver state from ", state_path);
  if (state.has_learned_net() && options_.weights.empty()) net_->load_weights(state.learned_net());
  for (int i = 0; i < state.history_size(); ++i) {
    from_proto(state.history(i), history_[static_cast<size_t>(i)].get(),
               concat(state_path, ": history blob ", i));
  }
  iter_ = state.iter();
  current_step_ = state.current_step();
}

}  // namespace caffe
