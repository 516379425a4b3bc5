"""Settings of convolutions, pooling and normalization."""

from __future__ import annotations

import itertools
from typing import Any

import bpcompile.language.layers as layers
from tests.layers.cases import Case

try:
    import torch
    import torch.nn.functional as F  # noqa: N812
except ImportError:
    torch = F = None


def _to_torch(x: Any) -> Any:
    """Sequences have their features last here and in front in PyTorch."""
    return x.transpose(1, 2) if x.dim() == 3 else x


def _conv(rank: int, shape: tuple[int, ...], filters: int, kernel: Any, **options: Any) -> Case:
    """A convolution with padding in numbers; PyTorch reads the same numbers."""
    kind = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}[rank]
    bias = options.get("use_bias", True)

    def reference(p: Any, x: Any) -> Any:
        function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
        given = x[0].transpose(1, 2) if rank == 1 else x[0]
        result = function(
            given, p["weight"], p["bias"] if bias else None, options.get("strides", 1), options.get("padding", 0),
            options.get("dilation_rate", 1), options.get("groups", 1),
        )  # fmt: skip
        return result.transpose(1, 2) if rank == 1 else result

    def make(name: str) -> Any:
        return kind(filters, kernel, name=name, **options)

    return Case(f"conv{rank}d {shape} {filters} {kernel} {options}", make, (shape,), reference, linear=True)


def _same(shape: tuple[int, int, int], kernel: int, stride: int, dilation: int) -> Case:
    """Padding "same": as much as is needed for ceil(extent/stride) outputs, the odd one at the end."""

    def reference(p: Any, x: Any) -> Any:
        pads: list[int] = []
        for extent in reversed(shape[1:]):
            total = max((-(-extent // stride) - 1) * stride + dilation * (kernel - 1) + 1 - extent, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x[0], pads), p["weight"], p["bias"], stride, 0, dilation)

    return Case(
        f"conv2d same {shape} {kernel} {stride} {dilation}",
        lambda name: layers.Conv2D(3, kernel, stride, "same", dilation, name=name),
        (shape,),
        reference,
    )


CONVOLUTIONS = [
    _conv(2, (2, 7, 6), 4, 3),
    _conv(2, (2, 7, 6), 4, (3, 2), strides=(2, 1), padding=1, dilation_rate=(1, 2), groups=2),
    _conv(2, (3, 5, 5), 3, 3, padding=1, groups=3),
    _conv(2, (3, 5, 5), 6, 3, padding=(2, 0), groups=3, use_bias=False),
    _conv(2, (4, 6, 6), 2, 1, strides=2),
    _conv(2, (2, 4, 5), 5, (4, 5)),
    _conv(2, (1, 1, 1), 1, 1),
    _conv(1, (9, 3), 4, 3, strides=2, padding=1),
    _conv(1, (9, 4), 4, 2, dilation_rate=3, groups=2),
    _conv(3, (2, 4, 3, 5), 3, 2),
    _conv(3, (2, 5, 4, 5), 2, (3, 1, 2), strides=(2, 1, 2), padding=(1, 0, 1), groups=2),
    _same((2, 7, 6), 3, 1, 1),
    _same((2, 7, 6), 3, 2, 1),
    _same((2, 8, 5), 2, 2, 1),
    _same((1, 6, 7), 3, 1, 2),
    Case(
        "conv1d causal",
        lambda n: layers.Conv1D(3, 3, padding="causal", dilation_rate=2, name=n),
        ((8, 2),),
        lambda p, x: F.conv1d(F.pad(x[0].transpose(1, 2), (4, 0)), p["weight"], p["bias"], dilation=2).transpose(1, 2),
    ),
    Case(
        "conv2d relu, pairs",
        lambda n: layers.Conv2D(3, 3, padding=((0, 1), (2, 1)), activation="relu", name=n),
        ((2, 5, 5),),
        lambda p, x: F.relu(F.conv2d(F.pad(x[0], (2, 1, 0, 1)), p["weight"], p["bias"])),
    ),
    Case(
        "depthwise",
        lambda n: layers.DepthwiseConv2D(3, padding=1, depth_multiplier=2, name=n),
        ((3, 5, 4),),
        lambda p, x: F.conv2d(x[0], p["weight"], p["bias"], padding=1, groups=3),
    ),
    Case(
        "depthwise 1d",
        lambda n: layers.DepthwiseConv1D(3, strides=2, padding=1, activation="tanh", name=n),
        ((7, 3),),
        lambda p, x: torch.tanh(_to_torch(F.conv1d(_to_torch(x[0]), p["weight"], p["bias"], 2, 1, groups=3))),
    ),
    Case(
        "separable 1d",
        lambda n: layers.SeparableConv1D(4, 3, padding="causal", use_bias=False, name=n),
        ((6, 2),),
        lambda p, x: _to_torch(
            F.conv1d(
                F.conv1d(F.pad(_to_torch(x[0]), (2, 0)), p["depthwise_weight"], groups=2), p["pointwise_weight"]
            )
        ),
    ),
    Case(
        "separable",
        lambda n: layers.SeparableConv2D(4, 3, 2, 1, depth_multiplier=2, name=n),
        ((3, 6, 5),),
        lambda p, x: F.conv2d(
            F.conv2d(x[0], p["depthwise_weight"], None, 2, 1, groups=3), p["pointwise_weight"], p["bias"]
        ),
    ),
]


def _transposed(shape: tuple[int, ...], filters: int, kernel: Any, **options: Any) -> Case:
    rank = len(shape) - 1

    def reference(p: Any, x: Any) -> Any:
        result = getattr(F, f"conv_transpose{rank}d")(
            _to_torch(x[0]), p["weight"], p["bias"], options.get("strides", 1), options.get("padding", 0),
            options.get("output_padding", 0), options.get("groups", 1), options.get("dilation_rate", 1),
        )  # fmt: skip
        return _to_torch(result)

    def make(name: str) -> Any:
        return getattr(layers, f"Conv{rank}DTranspose")(filters, kernel, name=name, **options)

    return Case(f"transposed {shape} {filters} {kernel} {options}", make, (shape,), reference, linear=True)


TRANSPOSED = [
    _transposed((4, 2), 3, 3, strides=2, padding=1, output_padding=1),
    _transposed((5, 4), 2, 2, groups=2, dilation_rate=2),
    _transposed((2, 2, 3, 2), 2, 2, strides=(1, 2, 1)),
    _transposed((1, 3, 2, 2), 2, (2, 3, 1), strides=2, padding=(1, 1, 0)),
    _transposed((2, 4, 5), 3, 3),
    _transposed((2, 4, 5), 3, 3, padding=1),
    _transposed((2, 4, 3), 3, 2, strides=2),
    _transposed((2, 4, 3), 3, 3, strides=2, padding=1, output_padding=1),
    _transposed((4, 3, 4), 2, (3, 4), strides=(2, 3), groups=2),
    _transposed((4, 3, 4), 4, 3, strides=2, groups=2),
    _transposed((2, 3, 3), 2, 3, dilation_rate=2),
    _transposed((2, 3, 3), 2, (3, 2), strides=(2, 3), dilation_rate=(2, 1), padding=(1, 0)),
    Case(
        "transposed same",
        lambda n: layers.Conv2DTranspose(3, 3, 2, "same", name=n),
        ((2, 4, 5),),
        lambda p, x: F.conv_transpose2d(x[0], p["weight"], p["bias"], 2)[:, :, :-1, :-1],
    ),
]


def _pooling(
    kind: str, shape: tuple[int, ...], size: Any, strides: Any = None, padding: Any = 0, include: bool = False,
    ceil: bool = False,
) -> Case:  # fmt: skip
    rank = len(shape) - 1
    layer: Any = getattr(layers, f"{kind}Pooling{rank}D")
    extra: dict[str, Any] = {"count_include_pad": include} if kind == "Average" else {}
    extra["ceil_mode"] = ceil

    def reference(p: Any, x: Any) -> Any:
        name = f"{'avg' if kind == 'Average' else 'max'}_pool{rank}d"
        given = x[0].transpose(1, 2) if rank == 1 else x[0]
        result = getattr(F, name)(given, size, strides, padding, **extra)
        return result.transpose(1, 2) if rank == 1 else result

    return Case(
        f"{kind} pooling {shape} {size} {strides} {padding} {include} {ceil}",
        lambda name: layer(size, strides, padding, name=name, **extra),
        (shape,),
        reference,
        linear=kind == "Average",
    )


POOLING = [
    _pooling("Max", (2, 6, 6), 2),
    _pooling("Max", (2, 6, 7), 3, 2, 1),
    _pooling("Max", (2, 5, 7), (2, 3), (1, 2)),
    _pooling("Max", (2, 7, 5), (3, 1), (3, 1)),
    _pooling("Max", (9, 3), 3, 2, 1),
    _pooling("Max", (2, 3, 4), (3, 4)),
    _pooling("Average", (2, 6, 6), 2),
    _pooling("Average", (2, 6, 7), 3, 2, 1),
    _pooling("Average", (2, 6, 7), 3, 2, 1, True),
    _pooling("Average", (7, 3), 3, 1, 1),
    _pooling("Max", (2, 4, 5, 4), 2),
    _pooling("Max", (1, 5, 4, 6), (3, 2, 3), (2, 1, 2), (1, 0, 1)),
    _pooling("Average", (2, 4, 5, 4), (2, 3, 2), 2),
    _pooling("Average", (1, 4, 3, 5), 3, 2, 1),
    _pooling("Max", (2, 6, 7), 3, 2, ceil=True),
    _pooling("Max", (2, 6, 7), 3, 2, 1, ceil=True),
    _pooling("Max", (8, 2), 3, 3, ceil=True),
    _pooling("Max", (2, 4, 4), 2, 3, ceil=True),
    _pooling("Average", (2, 6, 7), 3, 2, ceil=True),
    _pooling("Average", (2, 6, 7), 3, 2, 1, ceil=True),
    _pooling("Average", (2, 6, 8), 3, 2, 1, True, ceil=True),
    Case("global average 3d", lambda n: layers.GlobalAveragePooling3D(name=n), ((3, 2, 3, 2),), lambda p, x: x[0].mean((2, 3, 4))),
    Case("global max 3d", lambda n: layers.GlobalMaxPooling3D(True, name=n), ((3, 2, 3, 2),),
         lambda p, x: x[0].amax((2, 3, 4), keepdim=True)),
    *(
        Case(f"adaptive average 1d {size}", lambda n, size=size: layers.AdaptiveAveragePooling1D(size, name=n), ((7, 2),),
             lambda p, x, size=size: F.adaptive_avg_pool1d(x[0].transpose(1, 2), size).transpose(1, 2), linear=True)
        for size in (3, 7, 1)
    ),
    Case("global average", lambda n: layers.GlobalAveragePooling2D(name=n), ((3, 4, 5),), lambda p, x: x[0].mean((2, 3))),
    Case("global average kept", lambda n: layers.GlobalAveragePooling2D(True, name=n), ((3, 4, 5),),
         lambda p, x: x[0].mean((2, 3), keepdim=True)),
    Case("global average 1d", lambda n: layers.GlobalAveragePooling1D(name=n), ((4, 5),), lambda p, x: x[0].mean(1)),
    Case("global max", lambda n: layers.GlobalMaxPooling2D(name=n), ((3, 4, 5),), lambda p, x: x[0].amax((2, 3))),
    Case("global max 1d", lambda n: layers.GlobalMaxPooling1D(True, name=n), ((4, 5),),
         lambda p, x: x[0].amax(1, keepdim=True)),
    *(
        Case(f"adaptive average {shape} {size}",
             lambda n, size=size: layers.AdaptiveAveragePooling2D(size, name=n), (shape,),
             lambda p, x, size=size: F.adaptive_avg_pool2d(x[0], size), linear=True)
        for shape, size in [((2, 6, 4), (3, 2)), ((2, 7, 5), (3, 2)), ((2, 4, 4), 1), ((2, 3, 3), (5, 4))]
    ),
]  # fmt: skip


def _batch_norm(shape: tuple[int, ...], axis: int = 1, **options: Any) -> Case:
    m = options.get("momentum", 0.1)

    def moved(x: Any) -> Any:
        return x.movedim(axis, 1)

    def reference(p: Any, x: Any) -> Any:
        result = F.batch_norm(
            moved(x[0]), p["running_mean"].clone(), p["running_var"].clone(), p.get("weight"), p.get("bias"),
            p["training"], m, options.get("epsilon", 1e-5),
        )  # fmt: skip
        return result.movedim(1, axis)

    def state(p: Any, x: Any) -> Any:
        mean, variance = p["running_mean"].clone(), p["running_var"].clone()
        F.batch_norm(moved(x[0]).detach(), mean, variance, None, None, True, m)
        return {"running_mean": mean, "running_var": variance}

    def make(name: str) -> Any:
        return layers.BatchNormalization(axis, name=name, **options)

    return Case(f"batch normalization {shape} {axis} {options}", make, (shape,), reference, state=state)


def _layer_norm(shape: tuple[int, ...], axes: Any, **options: Any) -> Case:
    count = 1 if isinstance(axes, int) else len(axes)
    return Case(
        f"layer normalization {shape} {axes} {options}",
        lambda name: layers.LayerNormalization(axes, name=name, **options),
        (shape,),
        lambda p, x: F.layer_norm(x[0], shape[-count:], p.get("weight"), p.get("bias"), options.get("epsilon", 1e-5)),
    )


NORMALIZATION = [
    _batch_norm((3,)),
    _batch_norm((3, 4, 2)),
    _batch_norm((4, 3), axis=-1, momentum=0.3),
    _batch_norm((3, 4), scale=False, center=False, epsilon=1e-3),
    _layer_norm((5,), -1),
    _layer_norm((3, 5), -1, epsilon=1e-3),
    _layer_norm((3, 5), (-2, -1)),
    _layer_norm((3, 5), -1, scale=False, center=False),
    Case("rms", lambda n: layers.RMSNormalization(name=n), ((3, 5),), lambda p, x: F.rms_norm(x[0], (5,), p["weight"], 1e-6)),
    *(
        Case(f"group normalization {shape} {groups}",
             lambda n, groups=groups: layers.GroupNormalization(groups, name=n), (shape,),
             lambda p, x, groups=groups: F.group_norm(x[0], groups, p["weight"], p["bias"]))
        for shape, groups in [((4, 3, 2), 2), ((4, 3), 1), ((4, 3, 3), 4), ((6,), 2)]
    ),
    Case("unit", lambda n: layers.UnitNormalization(name=n), ((3, 4),), lambda p, x: F.normalize(x[0], dim=-1)),
    Case("unit channels", lambda n: layers.UnitNormalization(1, name=n), ((3, 4),), lambda p, x: F.normalize(x[0], dim=1)),
    Case("instance", lambda n: layers.InstanceNormalization(name=n), ((3, 4, 3),), lambda p, x: F.instance_norm(x[0])),
    Case("instance with weights", lambda n: layers.InstanceNormalization(scale=True, center=True, name=n), ((3, 5),),
         lambda p, x: F.instance_norm(x[0], weight=p["weight"], bias=p["bias"])),
]  # fmt: skip

def _border(kind: str, shape: tuple[int, ...], given: Any, pads: list[int]) -> Case:
    """Padding or cropping, which is padding by less than nothing; PyTorch counts from the last axis."""
    layer: Any = getattr(layers, f"{kind}{len(shape) - 1}D")
    return Case(
        f"{kind} {shape} {given}",
        lambda name: layer(given, name=name),
        (shape,),
        lambda p, x: _to_torch(F.pad(_to_torch(x[0]), pads)),
        linear=True,
    )


def _stretched(shape: tuple[int, ...], size: Any, mode: str) -> Case:
    rank = len(shape) - 1
    layer: Any = getattr(layers, f"UpSampling{rank}D")
    theirs = {"nearest": "nearest", "bilinear": ("linear", "bilinear", "trilinear")[rank - 1]}[mode]
    factors = size if isinstance(size, tuple) else (size,) * rank
    return Case(
        f"up sampling {shape} {size} {mode}",
        lambda name: layer(size, mode, name=name),
        (shape,),
        lambda p, x: _to_torch(F.interpolate(_to_torch(x[0]), scale_factor=tuple(map(float, factors)), mode=theirs)),
        linear=True,
    )


BORDERS = [
    _border("ZeroPadding", (3, 2), (2, 1), [2, 1]),
    _border("ZeroPadding", (1, 2, 3, 2), ((0, 1), (2, 0), (1, 1)), [1, 1, 2, 0, 0, 1]),
    _border("Cropping", (6, 2), (2, 1), [-2, -1]),
    _border("Cropping", (5, 2), (0, 0), [0, 0]),
    _border("Cropping", (1, 3, 4, 5), ((0, 1), (2, 0), (1, 1)), [-1, -1, -2, 0, 0, -1]),
    _stretched((3, 2), 3, "nearest"),
    _stretched((4, 2), 2, "bilinear"),
    _stretched((1, 2, 3, 2), (2, 1, 3), "nearest"),
    _stretched((1, 2, 3, 2), (2, 1, 2), "bilinear"),
]

CASES = [*CONVOLUTIONS, *TRANSPOSED, *POOLING, *NORMALIZATION, *BORDERS]


def more_convolutions() -> list[Case]:
    """A grid of settings, for the full sweep."""
    cases = []
    for kernel, stride, padding, dilation, groups in itertools.product((1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2), (1, 2)):
        shape = (4, 7, 5)
        if dilation * (kernel - 1) + 1 <= 5 + 2 * padding:
            cases.append(
                _conv(2, shape, 4, kernel, strides=stride, padding=padding, dilation_rate=dilation, groups=groups)
            )
    return cases


def more_transposed() -> list[Case]:
    """A grid of settings, for the full sweep."""
    return [
        _transposed((4, 3, 4), 4, kernel, strides=stride, padding=padding, dilation_rate=dilation, groups=groups)
        for kernel, stride, padding, dilation, groups in itertools.product((2, 3), (1, 2, 3), (0, 1), (1, 2), (1, 2))
    ]


def more_pooling() -> list[Case]:
    """A grid of settings, for the full sweep."""
    return [
        _pooling(kind, shape, size, strides, padding)
        for kind, shape, size, strides, padding in itertools.product(
            ("Max", "Average"), ((2, 7, 6), (8, 3)), (2, 3), (1, 2, 3), (0, 1)
        )
    ]
