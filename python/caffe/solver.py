"""Solvers: what pycaffe calls caffe.SGDSolver, caffe.get_solver and so on."""

from collections.abc import Callable, Iterable

from . import _caffe
from .mode import chosen_seed
from .net import Net, StrPath
from .proto import caffe_pb2


class Solver:
    """Trains a net as a solver .prototxt says.

    Solver(solver_file, observed=None, memory_limit=0, precision=None): observed and precision as in caffe.Net, for the
    training net and the test nets; without precision the file's own holds. memory_limit is for the training net.
    Relative names in the file are relative to the working directory. Errors are caffe.CaffeError.
    """

    _type = ""  # the type that is made, whatever the file says; empty: what the file says

    def __init__(
        self,
        solver_file: StrPath,
        observed: Iterable[str] | None = None,
        memory_limit: int = 0,
        precision: str | None = None,
    ) -> None:
        self._set_core(_make_core(solver_file, self._type, observed, memory_limit, precision))

    @classmethod
    def _of(cls, core):
        solver = cls.__new__(cls)
        solver._set_core(core)
        return solver

    def _set_core(self, core):
        self._core = core
        self._net = Net._of(core.net)
        self._test_nets = [Net._of(net) for net in core.test_nets]

    def __reduce__(self):
        raise TypeError("a solver cannot be pickled; use snapshot() and restore()")

    @property
    def type(self) -> str:
        """ "SGD", "Adam", ..."""
        return self._core.type

    @property
    def net(self) -> Net:
        """The net that is trained."""
        return self._net

    @property
    def test_nets(self) -> list[Net]:
        """The nets that validate; they share the weights of `net`."""
        return self._test_nets

    @property
    def iter(self) -> int:
        """Number of updates done."""
        return self._core.iter

    @property
    def param(self):
        """A copy of the SolverParameter, with what defaults and upgrades made of the file."""
        param = caffe_pb2.SolverParameter()
        param.ParseFromString(self._core.param)
        return param

    def step(self, iterations: int) -> None:
        """Does `iterations` updates, with the tests, log lines and snapshots that fall into them."""
        self._core.step(iterations)

    def solve(self, resume_file: StrPath | None = None) -> None:
        """Trains up to max_iter, from the state in `resume_file` if one is given."""
        if resume_file:
            self.restore(resume_file)
        self._core.solve()

    def test_all(self) -> None:
        """Runs every test net once over its test_iter batches and logs the outputs."""
        self._core.test_all()

    def apply_update(self) -> None:
        """Updates the parameters by the gradients that are in their diffs, and counts an iteration."""
        self._core.apply_update()

    def add_callback(self, on_start: Callable[[], object], on_gradients_ready: Callable[[], object]) -> None:
        """Calls on_start() before each iteration, and on_gradients_ready() when its gradients are in the diffs.

        What they raise ends the step.
        """
        self._core.add_callback(on_start, on_gradients_ready)

    def snapshot(self) -> None:
        """Writes <snapshot_prefix>_iter_<N>.caffemodel and .solverstate."""
        self._core.snapshot()

    def restore(self, state_file: StrPath) -> None:
        """Goes on from a .solverstate[.h5]: iteration, history and weights."""
        self._core.restore(str(state_file))

    def share_weights(self, net: Net) -> None:
        """Makes the parameters of `net` those of the training net, by layer name."""
        net.share_with(self._net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    _type = "SGD"


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    _type = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad."""

    _type = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp."""

    _type = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta."""

    _type = "AdaDelta"


class AdamSolver(Solver):
    """Adam."""

    _type = "Adam"


_CLASSES = (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)


def _make_core(solver_file, kind, observed, memory_limit, precision):
    names = None if observed is None else list(observed)
    return _caffe.SolverCore(str(solver_file), kind, names, chosen_seed(), memory_limit, precision)


def get_solver(
    solver_file: StrPath,
    observed: Iterable[str] | None = None,
    memory_limit: int = 0,
    precision: str | None = None,
) -> Solver:
    """The solver of the type that the file names. The other arguments as in caffe.Solver."""
    core = _make_core(solver_file, "", observed, memory_limit, precision)
    kinds = {kind._type: kind for kind in _CLASSES}
    return kinds.get(core.type, Solver)._of(core)
