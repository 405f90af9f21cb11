"""Net files written in Python.

    n = caffe.NetSpec()
    n.data, n.label = L.Data(source="train_lmdb", backend=P.Data.LMDB, batch_size=64, ntop=2)
    n.score = L.InnerProduct(n.data, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    print(n.to_proto())

with L = caffe.layers and P = caffe.params.
"""

from collections import Counter, OrderedDict

from .proto import caffe_pb2


def param_name_dict():
    """{"Convolution": "convolution_param", ...}: where a layer type's own settings are kept."""
    fields = {}
    for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields:
        if field.name.endswith("_param") and field.message_type and field.message_type.name.endswith("Parameter"):
            fields[field.message_type.name[: -len("Parameter")]] = field.name
    return fields


_FIELD_OF_TYPE = param_name_dict()


def assign_proto(message, name, value):
    """Sets a field of a message to what is natural in Python: dicts for messages, lists for repeated fields."""
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise AttributeError(f"{message.DESCRIPTOR.name} has no field {name!r}")
    if field.label == field.LABEL_REPEATED:
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, dict):
                _assign_all(getattr(message, name).add(), item)
            elif field.message_type:
                getattr(message, name).add().CopyFrom(item)
            else:
                getattr(message, name).append(item)
    elif isinstance(value, dict):
        getattr(message, name).SetInParent()
        _assign_all(getattr(message, name), value)
    elif field.message_type:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def _assign_all(message, values):
    for name, value in values.items():
        assign_proto(message, name, value)


class Top:
    """One output of a layer that is being described."""

    def __init__(self, function, index):
        self.fn = function
        self.n = index

    def to_proto(self):
        """The NetParameter of all layers that this top needs."""
        return to_proto(self)


class Function:
    """A layer that is being described: its type, inputs (tops of other layers) and params (its settings)."""

    def __init__(self, type_name, inputs, params):
        self.type_name = type_name
        for i, top in enumerate(inputs):
            if not isinstance(top, Top):
                raise TypeError(f"{type_name} input {i} is not a Top (type is {type(top)})")
        self.inputs = inputs
        self.params = dict(params)
        self.ntop = self.params.pop("ntop", 1)
        self.in_place = self.params.pop("in_place", False)
        if self.in_place and len(inputs) != 1:
            raise TypeError(f"{type_name} has {len(inputs)} inputs; in place it must have one")
        self.tops = tuple(Top(self, i) for i in range(self.ntop))

    def describe(self, names, layer_name):
        """Its LayerParameter; `names` gives the name of every top."""
        layer = caffe_pb2.LayerParameter(name=layer_name, type=self.type_name)
        layer.bottom.extend(names.of_top(bottom) for bottom in self.inputs)
        layer.top.extend(names.of_top(top) for top in self.tops)
        own = _FIELD_OF_TYPE.get(self.type_name)
        own_fields = layer.DESCRIPTOR.fields_by_name[own].message_type.fields_by_name if own else {}
        for name, value in self.params.items():
            if name == "name":
                continue
            if name in own_fields and not name.endswith("param"):
                assign_proto(getattr(layer, own), name, value)
            else:
                assign_proto(layer, name, value)
        return layer


class _Names:
    """Names of tops and layers: those that the user gave, and for the others the type and a number."""

    def __init__(self, given):
        self._tops = given
        self._layers = {}
        self._numbers = Counter()

    def of_top(self, top):
        if top.fn.in_place:
            return self.of_top(top.fn.inputs[0])
        if top not in self._tops:
            self._tops[top] = self._numbered(top.fn.type_name)
        return self._tops[top]

    def of_layer(self, function):
        if function not in self._layers:
            self._layers[function] = self._layer_name(function)
        return self._layers[function]

    def _layer_name(self, function):
        if "name" in function.params:
            return function.params["name"]
        if not function.tops:
            return self._numbered(function.type_name)
        first = function.tops[0]
        if first not in self._tops:
            self._tops[first] = self._numbered(function.type_name)
        return self._tops[first]

    def _numbered(self, type_name):
        self._numbers[type_name] += 1
        return f"{type_name}{self._numbers[type_name]}"


def _collect(functions, given):
    """The LayerParameters of all that `functions` need, each after what it reads."""
    names = _Names(given)
    layers = OrderedDict()
    pending = list(reversed(functions))
    while pending:
        function = pending[-1]
        missing = [bottom.fn for bottom in function.inputs if bottom.fn not in layers]
        if function in layers:
            pending.pop()
        elif missing:
            pending.extend(reversed(missing))
        else:
            layers[function] = function.describe(names, names.of_layer(function))
            pending.pop()
    return list(layers.values())


def to_proto(*tops):
    """The NetParameter of all layers that the tops need."""
    net = caffe_pb2.NetParameter()
    functions = [top.fn if isinstance(top, Top) else top for top in tops]
    net.layer.extend(_collect(functions, {}))
    return net


class NetSpec:
    """A net: assign tops to its attributes, which names them; to_proto() gives the NetParameter."""

    def __init__(self):
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name, value):
        self.tops[name] = value

    def __getattr__(self, name):
        try:
            return self.tops[name]
        except KeyError:
            raise AttributeError(f"the net has no top {name!r}") from None

    def __delattr__(self, name):
        del self.tops[name]

    __setitem__ = __setattr__

    def __getitem__(self, name):
        return self.tops[name]

    def __delitem__(self, name):
        del self.tops[name]

    def to_proto(self):
        """The NetParameter of all layers that the named tops need."""
        given = {top: name for name, top in self.tops.items() if isinstance(top, Top)}
        functions, names = [], dict(given)
        for name, value in self.tops.items():
            if isinstance(value, Function):
                value.params.setdefault("name", name)
            functions.append(value.fn if isinstance(value, Top) else value)
        net = caffe_pb2.NetParameter()
        net.layer.extend(_collect(functions, names))
        return net


class Layers:
    """layers.Convolution(bottom, ..., num_output=20, ...): describes a layer of that type.

    Settings are the fields of its own parameter message and of LayerParameter; messages are written as dicts. ntop: the
    number of tops (default 1; more give a tuple, 0 gives the layer itself). in_place=True: writes over its input.
    """

    def __getattr__(self, type_name):
        def describe(*bottoms, **settings):
            function = Function(type_name, bottoms, settings)
            if function.ntop == 0:
                return function
            return function.tops[0] if function.ntop == 1 else function.tops

        return describe


class Parameters:
    """params.Pooling.MAX: the constants of PoolingParameter."""

    def __getattr__(self, name):
        try:
            return getattr(caffe_pb2, name + "Parameter")
        except AttributeError:
            raise AttributeError(f"there is no message {name}Parameter") from None


layers = Layers()
params = Parameters()
