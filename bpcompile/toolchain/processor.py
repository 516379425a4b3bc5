"""The processor: what tells two of them apart, and the C text that asks whether this one has what was compiled for.

An extension built with ``-march=native`` must not run on a lesser processor: it would die of an illegal instruction.
The translation unit of the kernels therefore records which features its compiler had switched on, as a constant; the
unit of the Python wrapper, compiled without ``-march``, compares that constant with the processor at hand.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["check_declaration", "check_text", "needs_text", "processor_identity"]


@dataclass(frozen=True)
class Feature:
    """One row: a feature, the macro that says it is used, and where CPUID tells of it.

    ``saved`` is the mask of register state (XCR0) that the operating system must save for the feature to be usable.
    """

    name: str
    macro: str
    leaf: int
    subleaf: int
    register: int
    bit: int
    saved: int = 0


_EAX, _EBX, _ECX, _EDX = range(4)
_YMM, _ZMM = 0x6, 0xE6

# Intel 64 Software Developer's Manual, volume 2A, CPUID; AMD64 Architecture Programmer's Manual, volume 3, appendix E.
_X86_FEATURES = (
    Feature("sse3", "__SSE3__", 1, 0, _ECX, 0),
    Feature("ssse3", "__SSSE3__", 1, 0, _ECX, 9),
    Feature("fma", "__FMA__", 1, 0, _ECX, 12, _YMM),
    Feature("sse4.1", "__SSE4_1__", 1, 0, _ECX, 19),
    Feature("sse4.2", "__SSE4_2__", 1, 0, _ECX, 20),
    Feature("movbe", "__MOVBE__", 1, 0, _ECX, 22),
    Feature("popcnt", "__POPCNT__", 1, 0, _ECX, 23),
    Feature("avx", "__AVX__", 1, 0, _ECX, 28, _YMM),
    Feature("f16c", "__F16C__", 1, 0, _ECX, 29, _YMM),
    Feature("bmi", "__BMI__", 7, 0, _EBX, 3),
    Feature("avx2", "__AVX2__", 7, 0, _EBX, 5, _YMM),
    Feature("bmi2", "__BMI2__", 7, 0, _EBX, 8),
    Feature("avx512f", "__AVX512F__", 7, 0, _EBX, 16, _ZMM),
    Feature("avx512dq", "__AVX512DQ__", 7, 0, _EBX, 17, _ZMM),
    Feature("adx", "__ADX__", 7, 0, _EBX, 19),
    Feature("avx512ifma", "__AVX512IFMA__", 7, 0, _EBX, 21, _ZMM),
    Feature("avx512cd", "__AVX512CD__", 7, 0, _EBX, 28, _ZMM),
    Feature("avx512bw", "__AVX512BW__", 7, 0, _EBX, 30, _ZMM),
    Feature("avx512vl", "__AVX512VL__", 7, 0, _EBX, 31, _ZMM),
    Feature("avx512vbmi", "__AVX512VBMI__", 7, 0, _ECX, 1, _ZMM),
    Feature("avx512vbmi2", "__AVX512VBMI2__", 7, 0, _ECX, 6, _ZMM),
    Feature("gfni", "__GFNI__", 7, 0, _ECX, 8),
    Feature("avx512vnni", "__AVX512VNNI__", 7, 0, _ECX, 11, _ZMM),
    Feature("avx512bitalg", "__AVX512BITALG__", 7, 0, _ECX, 12, _ZMM),
    Feature("avx512vpopcntdq", "__AVX512VPOPCNTDQ__", 7, 0, _ECX, 14, _ZMM),
    Feature("avx512fp16", "__AVX512FP16__", 7, 0, _EDX, 23, _ZMM),
    Feature("avxvnni", "__AVXVNNI__", 7, 1, _EAX, 4, _YMM),
    Feature("avx512bf16", "__AVX512BF16__", 7, 1, _EAX, 5, _ZMM),
    Feature("lzcnt", "__LZCNT__", 0x80000001, 0, _ECX, 5),
)
_SVE_BIT = 40  # stands after the rows of the other architecture, so that one constant serves both


def needs_text(prefix: str) -> str:
    """Return C that defines ``<prefix>_cpu_needs``: a bit for each feature that the compiler may use here."""
    rows = [(feature.macro, position) for position, feature in enumerate(_X86_FEATURES)]
    rows.append(("__ARM_FEATURE_SVE", _SVE_BIT))
    lines = [
        f"extern const unsigned long long {prefix}_cpu_needs;",
        f"const unsigned long long {prefix}_cpu_needs = 0ULL",
    ]
    for macro, position in rows:
        lines += [f"#ifdef {macro}", f"    | 1ULL << {position}", "#endif"]
    return "\n".join([*lines, "    ;", ""])


def check_declaration(prefix: str) -> str:
    """Return the declaration of ``<prefix>_cpu_missing``: the first missing feature, or the empty string."""
    return f"const char *{prefix}_cpu_missing(void);"


def check_text(prefix: str) -> str:
    """Return C that defines ``<prefix>_cpu_missing``, to be compiled for any processor of the architecture."""
    rows = "\n".join(
        f'        {{"{f.name}", 0x{f.leaf:x}u, {f.subleaf}u, {f.register}, {f.bit}, 0x{f.saved:x}u}},'
        for f in _X86_FEATURES
    )
    return _CHECK.replace("PREFIX", prefix).replace("ROWS", rows).replace("SVE_BIT", str(_SVE_BIT))


_CHECK = """\
extern const unsigned long long PREFIX_cpu_needs;

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
static const char *PREFIX_cpu_missing(void)
{
    static const struct {
        const char *name;
        unsigned leaf, subleaf;
        int reg, bit;
        unsigned saved;
    } features[] = {
ROWS
    };
    unsigned r[4] = {0u, 0u, 0u, 0u}, saved = 0u;
    __cpuid(1, r[0], r[1], r[2], r[3]);
    if (r[2] >> 27 & 1u) {
        unsigned high;
        __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    }
    for (unsigned k = 0; k < sizeof features / sizeof features[0]; k++) {
        if (!(PREFIX_cpu_needs >> k & 1ULL))
            continue;
        if (__get_cpuid_max(features[k].leaf & 0x80000000u, 0) < features[k].leaf)
            return features[k].name;
        __cpuid_count(features[k].leaf, features[k].subleaf, r[0], r[1], r[2], r[3]);
        if (!(r[features[k].reg] >> features[k].bit & 1u) || (saved & features[k].saved) != features[k].saved)
            return features[k].name;
    }
    return "";
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
static const char *PREFIX_cpu_missing(void)
{
    return PREFIX_cpu_needs >> SVE_BIT & 1ULL && !(getauxval(AT_HWCAP) >> 22 & 1UL) ? "sve" : "";
}
#else
static const char *PREFIX_cpu_missing(void) { return ""; }
#endif
"""

_IDENTIFYING = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU implementer", "CPU part", "Features")


def processor_identity() -> str:
    """Return a text that differs where ``-march=native`` could mean something else."""
    if sys.platform != "linux":
        return f"{platform.machine()} {platform.processor()}"
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text(errors="replace").partition("\n\n")
    except OSError:
        return f"{platform.machine()} {platform.node()}"
    pairs = (line.partition(":") for line in first.splitlines())
    facts = [f"{name.strip()}:{value.strip()}" for name, _, value in pairs if name.strip() in _IDENTIFYING]
    return "\n".join([platform.machine(), *facts])
