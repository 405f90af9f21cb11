#include "data/hdf5.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/memory.h"
#include "data/hdf5_library.h"

namespace caffe {
namespace {

// H5F_ACC_RDONLY and H5F_ACC_TRUNC, whose macros would call the library directly.
constexpr unsigned kReadOnly = 0;
constexpr unsigned kTruncate = 2;

// Closes what the library numbered.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;

  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// "a/b/c" -> "a", "a/b", "a/b/c".
std::vector<std::string> prefixes(const std::string& name) {
  std::vector<std::string> result;
  for (size_t slash = name.find('/', 1); slash != std::string::npos;
       slash = name.find('/', slash + 1)) {
    result.push_back(name.substr(0, slash));
  }
  result.push_back(name);
  return result;
}

}  // namespace

struct Hdf5File::State {
  std::string path;
  const Hdf5Library& library;
  hid_t file;

  ~State() {
    const std::lock_guard lock(hdf5_mutex());
    if (file >= 0) library.H5Fclose(file);
  }

  template <typename... Parts>
  void check(bool condition, const Parts&... parts) const {
    CAFFE_REQUIRE_CODE(condition, ErrorCode::kData, path, ": ", parts...);
  }

  bool exists(const std::string& name) const {
    if (name.empty() || name == "/") return true;
    for (const std::string& prefix :
         prefixes(name)) {  // the library fails where a group on the way is missing
      if (library.H5Lexists(file, prefix.c_str(), H5P_DEFAULT) <= 0) return false;
    }
    return true;
  }

  Handle dataset(const std::string& name) const {
    check(exists(name), "there is no dataset '", name, "'");
    Handle handle(library.H5Dopen2(file, name.c_str(), H5P_DEFAULT), library.H5Dclose);
    check(handle.valid(), "'", name, "' is no dataset");
    return handle;
  }

  Handle space_of(const Handle& dataset, const std::string& name) const {
    Handle space(library.H5Dget_space(dataset.get()), library.H5Sclose);
    check(space.valid(), "the extents of dataset '", name, "' cannot be read");
    return space;
  }

  Handle type_of(const Handle& dataset, const std::string& name) const {
    Handle type(library.H5Dget_type(dataset.get()), library.H5Tclose);
    check(type.valid(), "the type of dataset '", name, "' cannot be read");
    return type;
  }

  Shape shape_of(const Handle& dataset, const std::string& name) const {
    const Handle space = space_of(dataset, name);
    const int axes = library.H5Sget_simple_extent_ndims(space.get());
    check(axes >= 0, "the extents of dataset '", name, "' cannot be read");
    std::vector<hsize_t> dims(static_cast<size_t>(axes));
    library.H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
    Shape shape(std::vector<int64_t>(dims.begin(), dims.end()));
    require_countable(shape, concat(path, ": dataset '", name, "'"));
    return shape;
  }

  void create_groups(const std::string& name) const {
    for (const std::string& prefix : prefixes(name)) {
      if (prefix.empty() || exists(prefix)) continue;
      const Handle group(
          library.H5Gcreate2(file, prefix.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
          library.H5Gclose);
      CAFFE_REQUIRE_CODE(group.valid(), ErrorCode::kIo, path, ": cannot create the group '", prefix,
                         "'");
    }
  }

  void write(const std::string& name, hid_t type, const Handle& space, const void* values) const {
    check(!exists(name), "there is a dataset '", name, "' already");
    const size_t slash = name.rfind('/');
    if (slash != std::string::npos) create_groups(name.substr(0, slash));
    const Handle dataset(library.H5Dcreate2(file, name.c_str(), type, space.get(), H5P_DEFAULT,
                                            H5P_DEFAULT, H5P_DEFAULT),
                         library.H5Dclose);
    const bool written = dataset.valid() && library.H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL,
                                                             H5P_DEFAULT, values) >= 0;
    CAFFE_REQUIRE_CODE(written, ErrorCode::kIo, path, ": cannot write the dataset '", name, "'");
  }

  Handle simple_space(const Shape& shape) const {
    if (shape.axes() == 0) return Handle(library.H5Screate(H5S_SCALAR), library.H5Sclose);
    const std::vector<hsize_t> dims(shape.dims().begin(), shape.dims().end());
    return Handle(library.H5Screate_simple(shape.axes(), dims.data(), nullptr), library.H5Sclose);
  }
};

Hdf5File::Hdf5File(std::unique_ptr<State> state) : state_(std::move(state)) {}
Hdf5File::~Hdf5File() = default;
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;
Hdf5File& Hdf5File::operator=(Hdf5File&&) noexcept = default;

Hdf5File Hdf5File::open(const std::string& path) {
  const std::lock_guard lock(hdf5_mutex());
  const Hdf5Library& library = hdf5_library();
  const hid_t file = library.H5Fopen(path.c_str(), kReadOnly, H5P_DEFAULT);
  CAFFE_REQUIRE_CODE(file >= 0, ErrorCode::kIo, "cannot open ", path,
                     " as an HDF5 file: it is missing, unreadable, truncated or of another kind");
  return Hdf5File(std::unique_ptr<State>(new State{path, library, file}));
}

Hdf5File Hdf5File::create(const std::string& path) {
  const std::lock_guard lock(hdf5_mutex());
  const Hdf5Library& library = hdf5_library();
  const hid_t file = library.H5Fcreate(path.c_str(), kTruncate, H5P_DEFAULT, H5P_DEFAULT);
  CAFFE_REQUIRE_CODE(file >= 0, ErrorCode::kIo, "cannot create the HDF5 file ", path,
                     ": the folder is missing or not writable, or the file is open elsewhere");
  return Hdf5File(std::unique_ptr<State>(new State{path, library, file}));
}

bool Hdf5File::has(const std::string& name) const {
  const std::lock_guard lock(hdf5_mutex());
  return state_->exists(name);
}

std::vector<std::string> Hdf5File::children(const std::string& name) const {
  const std::lock_guard lock(hdf5_mutex());
  const Hdf5Library& library = state_->library;
  const std::string path = name.empty() ? "/" : name;
  state_->check(state_->exists(path), "there is no group '", path, "'");
  const Handle group(library.H5Gopen2(state_->file, path.c_str(), H5P_DEFAULT), library.H5Gclose);
  H5G_info_t info{};
  state_->check(group.valid() && library.H5Gget_info(group.get(), &info) >= 0, "'", path,
                "' is no group");
  std::vector<std::string> names;
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    const auto get = [&](char* to, size_t size) {
      return library.H5Lget_name_by_idx(group.get(), ".", H5_INDEX_NAME, H5_ITER_INC, i, to, size,
                                        H5P_DEFAULT);
    };
    const ssize_t length = get(nullptr, 0);
    state_->check(length >= 0, "the names in group '", path, "' cannot be read");
    std::string text(static_cast<size_t>(length) + 1, '\0');
    get(text.data(), text.size());
    text.pop_back();
    names.push_back(text);
  }
  return names;
}

Shape Hdf5File::shape(const std::string& name) const {
  const std::lock_guard lock(hdf5_mutex());
  return state_->shape_of(state_->dataset(name), name);
}

Shape Hdf5File::read_floats(const std::string& name, std::vector<float>& values) const {
  const std::lock_guard lock(hdf5_mutex());
  const Hdf5Library& library = state_->library;
  const Handle dataset = state_->dataset(name);
  const H5T_class_t kind = library.H5Tget_class(state_->type_of(dataset, name).get());
  state_->check(kind == H5T_FLOAT || kind == H5T_INTEGER, "dataset '", name,
                "' holds neither floats nor integers (HDF5 type class ", static_cast<int>(kind),
                ")");
  const Shape shape = state_->shape_of(dataset, name);
  require_memory(shape.count() * static_cast<int64_t>(sizeof(float)),
                 concat("dataset '", name, "' of ", state_->path));
  values.resize(static_cast<size_t>(shape.count()));
  state_->check(values.empty() || library.H5Dread(dataset.get(), library.native_float, H5S_ALL,
                                                  H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
                "dataset '", name, "' cannot be read: the file is damaged or truncated");
  return shape;
}

int64_t Hdf5File::read_int(const std::string& name) const {
  const std::lock_guard lock(hdf5_mutex());
  const Hdf5Library& library = state_->library;
  const Handle dataset = state_->dataset(name);
  const H5T_class_t kind = library.H5Tget_class(state_->type_of(dataset, name).get());
  const Shape shape = state_->shape_of(dataset, name);
  state_->check(kind == H5T_INTEGER && shape.count() == 1, "dataset '", name,
                "' is not one integer: its shape is ", shape.str());
  long long value = 0;
  state_->check(library.H5Dread(dataset.get(), library.native_llong, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                                &value) >= 0,
                "dataset '", name, "' cannot be read: the file is damaged or truncated");
  return value;
}

std::string Hdf5File::read_string(const std::string& name) const {
  const std::lock_guard lock(hdf5_mutex());
  const Hdf5Library& library = state_->library;
  const Handle dataset = state_->dataset(name);
  const Handle type = state_->type_of(dataset, name);
  state_->check(library.H5Tget_class(type.get()) == H5T_STRING &&
                    state_->shape_of(dataset, name).count() == 1,
                "dataset '", name, "' is not one string");
  std::string text;
  bool read = false;
  if (library.H5Tis_variable_str(type.get()) > 0) {
    char* value = nullptr;
    read = library.H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &value) >= 0;
    if (value != nullptr) text = value;
    library.H5free_memory(value);
  } else {
    text.resize(library.H5Tget_size(type.get()));
    read =
        library.H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) >= 0;
    text.resize(std::min(text.size(), text.find('\0')));
  }
  state_->check(read, "dataset '", name, "' cannot be read: the file is damaged or truncated");
  return text;
}

void Hdf5File::create_group(const std::string& name) {
  const std::lock_guard lock(hdf5_mutex());
  state_->create_groups(name);
}

void Hdf5File::write_floats(const std::string& name, const Shape& shape, const float* values) {
  const std::lock_guard lock(hdf5_mutex());
  state_->write(name, state_->library.native_float, state_->simple_space(shape), values);
}

void Hdf5File::write_int(const std::string& name, int32_t value) {
  const std::lock_guard lock(hdf5_mutex());
  state_->write(name, state_->library.native_int, state_->simple_space({1}), &value);
}

void Hdf5File::write_string(const std::string& name, const std::string& text) {
  const std::lock_guard lock(hdf5_mutex());
  const Handle type(state_->library.H5Tcopy(state_->library.c_string), state_->library.H5Tclose);
  state_->check(type.valid() && state_->library.H5Tset_size(type.get(), text.size() + 1) >= 0,
                "cannot make a string of ", text.size(), " bytes");
  state_->write(name, type.get(), state_->simple_space({}), text.c_str());
}

void Hdf5File::close() {
  const std::lock_guard lock(hdf5_mutex());
  const hid_t file = std::exchange(state_->file, -1);
  const bool flushed = state_->library.H5Fflush(file, H5F_SCOPE_LOCAL) >= 0;
  const bool closed = state_->library.H5Fclose(file) >= 0;
  CAFFE_REQUIRE_CODE(flushed && closed, ErrorCode::kIo, "cannot write ", state_->path,
                     " to the end; is the disk full?");
}

bool hdf5_available() {
  const std::lock_guard lock(hdf5_mutex());
  try {
    hdf5_library();
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace caffe
