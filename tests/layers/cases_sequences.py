"""Settings of recurrent layers, attention and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpcompile.language.layers as layers
from tests.layers.cases import Case, Integers
from tests.layers.cases_basic import rotated

try:
    import torch
    import torch.nn.functional as F  # noqa: N812
except ImportError:
    torch = F = None


def call(
    module: Any, parameters: Mapping[str, Any], *inputs: Any, rename: Mapping[str, str] | None = None, **options: Any
) -> Any:
    """A PyTorch module with these parameters; they differ in names alone."""
    own = {(rename or {}).get(name, name): value for name, value in parameters.items() if name != "training"}
    missing = set(dict(module.named_parameters())) ^ set(own)
    assert not missing, f"parameters without counterpart: {sorted(missing)}"
    return torch.func.functional_call(module.double(), own, inputs, options)


def _recurrent(kind: str, steps: int = 5, features: int = 2, units: int = 3, starts: bool = False, lengths: bool = False,
               **options: Any) -> Case:  # fmt: skip
    """A recurrent layer that returns everything, against PyTorch's of the same options."""
    layer: Any = {"RNN": layers.SimpleRNN, "LSTM": layers.LSTM, "GRU": layers.GRU}[kind]
    depth = options.get("num_layers", 1)
    levels = depth * (1 + options.get("bidirectional", False))
    state_shape = (units,) if levels == 1 else (levels, units)
    count = 2 if kind == "LSTM" else 1
    inputs: list[Any] = [(steps, features), *([state_shape] * count if starts else [])]
    if lengths:
        inputs.append(Integers((), steps + 1))

    def reference(p: Any, x: Any) -> Any:
        module = getattr(torch.nn, kind)(
            features, units, depth, bias=options.get("use_bias", True), batch_first=True,
            bidirectional=options.get("bidirectional", False),
        )  # fmt: skip
        given = x[1 : 1 + count] if starts else [torch.zeros(len(x[0]), *state_shape, dtype=torch.float64)] * count
        first = [g.reshape(-1, levels, units).transpose(0, 1).contiguous() for g in given]
        hidden = tuple(first) if count == 2 else first[0]
        if not lengths:
            y, last = call(module, p, x[0], hidden)
        else:
            y, last = _by_example(module, p, x[0], first, x[-1], count)
        last = [h.transpose(0, 1).reshape(-1, *state_shape) for h in (last if count == 2 else [last])]
        return [y, *last]

    return Case(
        f"{kind} {options} {starts} {lengths}",
        lambda name: layer(units, return_sequences=True, return_state=True, name=name, **options),
        inputs,
        reference,
    )


def _by_example(module: Any, p: Any, x: Any, first: Any, lengths: Any, count: int) -> Any:
    """Each example on its own, as far as it goes; zeros beyond it."""
    outputs, states = [], []
    for k, length in enumerate(lengths.tolist()):
        start = [h[:, k : k + 1].contiguous() for h in first]
        if length:
            y, last = call(module, p, x[k : k + 1, :length], tuple(start) if count == 2 else start[0])
            last = list(last) if count == 2 else [last]
        else:
            width = module.hidden_size * (1 + module.bidirectional)
            y, last = x.new_zeros(1, 0, width), start
        outputs.append(F.pad(y, (0, 0, 0, x.shape[1] - length)))
        states.append(last)
    joined = [torch.cat([s[i] for s in states], 1) for i in range(count)]
    return torch.cat(outputs), joined if count == 2 else joined[0]


def _last_only(kind: str, bidirectional: bool) -> Case:
    layer: Any = getattr(layers, kind)

    def reference(p: Any, x: Any) -> Any:
        module = getattr(torch.nn, kind)(2, 3, batch_first=True, bidirectional=bidirectional)
        last = call(module, p, x[0])[1]
        last = last[0] if kind == "LSTM" else last
        return torch.cat(list(last), -1)

    return Case(
        f"{kind} last {bidirectional}", lambda name: layer(3, bidirectional=bidirectional, name=name), ((4, 2),), reference
    )


def _truncated_gru(p: Any, x: Any) -> Any:
    hidden = torch.zeros(len(x[0]), 3, dtype=torch.float64)
    for t in range(x[0].shape[1]):
        hidden = hidden.detach() if t % 2 == 0 else hidden
        a = x[0][:, t] @ p["weight_ih_l0"].T + p["bias_ih_l0"]
        b = hidden @ p["weight_hh_l0"].T + p["bias_hh_l0"]
        r, z = torch.sigmoid(a[:, :3] + b[:, :3]), torch.sigmoid(a[:, 3:6] + b[:, 3:6])
        new = torch.tanh(a[:, 6:] + r * b[:, 6:])
        hidden = (1 - z) * new + z * hidden
    return hidden


def _backwards(kind: str, sequences: bool) -> Case:
    """Keras's `go_backwards`: PyTorch reads the sequence the other way round."""
    layer: Any = getattr(layers, kind)

    def reference(p: Any, x: Any) -> Any:
        y = call(getattr(torch.nn, kind)(2, 3, batch_first=True), p, x[0].flip(1))[0]
        return y if sequences else y[:, -1]

    return Case(
        f"{kind} backwards {sequences}",
        lambda name: layer(3, go_backwards=True, return_sequences=sequences, name=name),
        ((4, 2),),
        reference,
    )


def _merged(mode: str, join: Any, sequences: bool) -> Case:
    def reference(p: Any, x: Any) -> Any:
        y, last = call(torch.nn.GRU(2, 3, batch_first=True, bidirectional=True), p, x[0])
        return join(y[..., :3], y[..., 3:]) if sequences else join(last[0], last[1])

    return Case(
        f"bidirectional {mode} {sequences}",
        lambda name: layers.Bidirectional(layers.GRU(3, return_sequences=sequences, name=name), mode),
        ((4, 2),),
        reference,
    )


def _masked(p: Any, x: Any) -> Any:
    """Without lengths, Keras's mask is PyTorch's packed sequence; here every example goes as far as its features do."""
    length = ((x[0] > 0).any(-1) * torch.arange(1, 6)).amax(-1)
    kept = torch.where((x[0] > 0).any(-1, keepdim=True), torch.relu(x[0]), 0)
    start = [torch.zeros(1, len(kept), 3, dtype=kept.dtype)]
    return _by_example(torch.nn.GRU(2, 3, batch_first=True), p, kept, start, length, 1)[1][0]


def _masked_gru(name: str) -> Any:
    def apply(x: Any) -> Any:
        kept, length = layers.Masking(return_lengths=True, name=f"{name}_mask")(layers.ReLU(name=f"{name}_relu")(x))
        return layers.GRU(3, name=name)(kept, length)

    return apply


def _distributed(inner: Any, reference: Any, *shape: int) -> Case:
    """PyTorch joins the steps and the batch."""

    def every_step(p: Any, x: Any) -> Any:
        y = reference(p, x[0].flatten(0, 1))
        return y.unflatten(0, (len(x[0]), x[0].shape[1]))

    return Case(f"every step {type(inner('f')).__name__}", lambda name: layers.TimeDistributed(inner(name)), (shape,), every_step)


DISTRIBUTED = [
    _distributed(lambda n: layers.Conv2D(3, 2, activation="relu", name=n),
                 lambda p, x: F.relu(F.conv2d(x, p["weight"], p["bias"])), 3, 2, 4, 3),
    _distributed(lambda n: layers.MaxPooling2D(2, name=n), lambda p, x: F.max_pool2d(x, 2), 3, 2, 4, 4),
    _distributed(lambda n: layers.LSTM(3, name=n),
                 lambda p, x: call(torch.nn.LSTM(2, 3, batch_first=True), p, x)[0][:, -1], 3, 4, 2),
    _distributed(lambda n: layers.LayerNormalization(name=n),
                 lambda p, x: F.layer_norm(x, (3,), p["weight"], p["bias"]), 4, 3),
]  # fmt: skip

RECURRENT = [
    _backwards("LSTM", True),
    _backwards("GRU", False),
    _merged("sum", lambda a, b: a + b, True),
    _merged("mul", lambda a, b: a * b, False),
    _merged("ave", lambda a, b: (a + b) / 2, True),
    Case("masked GRU", _masked_gru, ((5, 2),), _masked),
    _recurrent("RNN"),
    _recurrent("RNN", num_layers=2, bidirectional=True, starts=True),
    _recurrent("RNN", lengths=True, bidirectional=True),
    _recurrent("LSTM"),
    _recurrent("LSTM", starts=True, use_bias=False),
    _recurrent("LSTM", num_layers=2, starts=True),
    _recurrent("LSTM", bidirectional=True),
    _recurrent("LSTM", num_layers=2, bidirectional=True, starts=True),
    _recurrent("LSTM", lengths=True, starts=True),
    _recurrent("LSTM", num_layers=2, bidirectional=True, starts=True, lengths=True),
    _recurrent("LSTM", steps=1, features=1, units=1),
    _recurrent("GRU"),
    _recurrent("GRU", starts=True, use_bias=False),
    _recurrent("GRU", num_layers=2, bidirectional=True, starts=True),
    _recurrent("GRU", lengths=True, starts=True),
    _recurrent("GRU", lengths=True, bidirectional=True, num_layers=2),
    *(_last_only(kind, both) for kind in ("LSTM", "GRU") for both in (False, True)),
    Case("truncated GRU", lambda n: layers.GRU(3, truncate=2, name=n), ((5, 2),), _truncated_gru, stopped=True),
    Case("dropped LSTM", lambda n: layers.LSTM(3, num_layers=2, dropout=0.3, name=n), ((4, 2),)),
]

_OUT = {"out_proj_weight": "out_proj.weight", "out_proj_bias": "out_proj.bias"}


def _attention(features: int = 8, heads: int = 2, memory: tuple[int, int] | None = None, values: int | None = None,
               mask: str = "", causal: bool = False, bias: bool = True) -> Case:  # fmt: skip
    steps = 5
    inputs: list[Any] = [(steps, features), *([memory] if memory else [])]
    source = memory or (steps, features)
    if values:
        inputs.append((source[0], values))
    if mask:
        inputs.append(Integers((source[0],) if mask == "keys" else (steps, source[0]) if mask == "all" else (), 2))

    def reference(p: Any, x: Any) -> Any:
        key = x[1] if memory else x[0]
        value = x[2] if values else key
        module = torch.nn.MultiheadAttention(
            features, heads, bias=bias, kdim=key.shape[-1], vdim=value.shape[-1], batch_first=True
        )
        hidden = torch.zeros(len(x[0]), 1, steps, source[0], dtype=torch.bool)
        if causal:
            hidden = hidden | torch.triu(torch.ones(steps, source[0], dtype=torch.bool), 1)
        if mask == "lengths":
            hidden = hidden | (torch.arange(source[0]) >= x[-1][:, None])[:, None, None]
        elif mask:
            hidden = hidden | (x[-1] == 0)[:, None] if mask == "all" else hidden | (x[-1] == 0)[:, None, None]
        every = hidden.expand(-1, heads, -1, -1).reshape(-1, steps, source[0])
        return call(module, p, x[0], key, value, rename=_OUT, attn_mask=every, need_weights=False)[0]

    return Case(
        f"attention {features} {heads} {memory} {values} {mask} {causal} {bias}",
        lambda name: layers.MultiHeadAttention(heads, causal=causal, use_bias=bias, name=name),
        inputs,
        reference,
    )


def _grouped(p: Any, x: Any) -> Any:
    """Four heads of queries on two of keys and values, turned by their places, causal."""
    n, t, _ = x[0].shape
    rows = F.linear(x[0], p["in_proj_weight"], p["in_proj_bias"])
    query, key, value = rows.split([16, 8, 8], -1)
    query = rotated(query.reshape(n, t, 4, 4)).transpose(1, 2)
    key = rotated(key.reshape(n, t, 2, 4)).transpose(1, 2).repeat_interleave(2, 1)
    value = value.reshape(n, t, 2, 4).transpose(1, 2).repeat_interleave(2, 1)
    y = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).reshape(n, t, 16)
    return F.linear(y, p["out_proj_weight"], p["out_proj_bias"])


def _scores(p: Any, x: Any) -> Any:
    module = torch.nn.MultiheadAttention(4, 2, batch_first=True)
    return call(module, p, x[0], x[0], x[0], rename=_OUT, average_attn_weights=False)


ATTENTION = [
    _attention(),
    _attention(causal=True),
    _attention(6, 3, bias=False),
    _attention(memory=(3, 8)),
    _attention(memory=(4, 6)),
    _attention(memory=(4, 6), values=3),
    _attention(causal=True, heads=1),
    Case("grouped rotary", lambda n: layers.MultiHeadAttention(4, num_key_value_heads=2, causal=True, rotary=True, name=n),
         ((5, 16),), _grouped),
    Case("scores", lambda n: layers.MultiHeadAttention(2, return_attention_scores=True, name=n), ((4, 4),), _scores),
    Case("dropped attention", lambda n: layers.MultiHeadAttention(2, dropout=0.4, name=n), ((4, 4),)),
]  # fmt: skip

_ENCODER = {
    "self_attn.in_proj_weight": "self_attn.in_proj_weight", "self_attn.in_proj_bias": "self_attn.in_proj_bias",
    "self_attn.out_proj_weight": "self_attn.out_proj.weight", "self_attn.out_proj_bias": "self_attn.out_proj.bias",
    "multihead_attn.out_proj_weight": "multihead_attn.out_proj.weight",
    "multihead_attn.out_proj_bias": "multihead_attn.out_proj.bias",
    "linear1.W": "linear1.weight", "linear1.b": "linear1.bias", "linear2.W": "linear2.weight", "linear2.b": "linear2.bias",
}  # fmt: skip


def _encoder(activation: str, norm_first: bool) -> Case:
    def reference(p: Any, x: Any) -> Any:
        module = torch.nn.TransformerEncoderLayer(4, 2, 6, 0.0, activation, batch_first=True, norm_first=norm_first)
        return call(module, p, x[0], rename=_ENCODER)

    return Case(
        f"encoder {activation} {norm_first}",
        lambda n: layers.TransformerEncoderLayer(2, 6, 0.0, activation, norm_first=norm_first, name=n),
        ((5, 4),),
        reference,
    )


def _decoder(p: Any, x: Any) -> Any:
    module = torch.nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(x[0].shape[1], dtype=torch.float64)
    return call(module, p, x[0], x[1], rename=_ENCODER, tgt_mask=mask)


def _block(filters: int, strides: int) -> Case:
    def reference(p: Any, x: Any) -> Any:
        def norm(name: str, z: Any) -> Any:
            mean, variance = p[f"{name}.running_mean"].clone(), p[f"{name}.running_var"].clone()
            return F.batch_norm(z, mean, variance, p[f"{name}.weight"], p[f"{name}.bias"], p["training"])

        y = F.relu(norm("bn1", F.conv2d(x[0], p["conv1.weight"], None, strides, 1)))
        y = norm("bn2", F.conv2d(y, p["conv2.weight"], None, 1, 1))
        if "downsample_conv.weight" in p:
            return F.relu(y + norm("downsample_bn", F.conv2d(x[0], p["downsample_conv.weight"], None, strides)))
        return F.relu(y + x[0])

    return Case(
        f"residual block {filters} {strides}",
        lambda n: layers.ResidualBlock(filters, strides, name=n),
        ((3, 6, 5),),
        reference,
        state=lambda p, x: {},
    )


COMPOSITES = [
    _encoder("relu", False),
    _encoder("gelu", True),
    Case("decoder", lambda n: layers.TransformerDecoderLayer(2, 6, 0.0, name=n), ((5, 4), (3, 4)), _decoder),
    Case("dropped encoder", lambda n: layers.TransformerEncoderLayer(2, 6, 0.3, name=n), ((4, 4),)),
    _block(3, 1),
    _block(4, 2),
]

CASES = [*RECURRENT, *DISTRIBUTED, *ATTENTION, *COMPOSITES]
