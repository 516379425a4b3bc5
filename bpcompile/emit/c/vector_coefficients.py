"""Constants and polynomial coefficients of the elementary functions of the vector preamble, by element type.

Polynomials are minimax (Remez) with coefficients rounded to the element type by lattice reduction (Sollya's
``fpminimax``), lowest coefficient first.
"""

from __future__ import annotations

from collections.abc import Mapping


def _read(text: str) -> dict[str, tuple[float, ...]]:
    """Read ``name number number ...``, where a number is hexadecimal (exact) or decimal."""
    table: dict[str, list[float]] = {}
    for word in text.split():
        if word[0].isalpha():
            name = word
            table[name] = []
        else:
            table[name].append(float.fromhex(word) if "0x" in word else float(word))
    return {name: tuple(numbers) for name, numbers in table.items()}


COEFFICIENTS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "float32": _read("""
        shift 0x1.8p23
        log2_e 0x1.715476p0
        log10_e 0x1.bcb7b2p-2
        ln2 0x1.62e43p-1
        ln2_high 0x1.62e4p-1
        ln2_low 0x1.7f7d1cp-20
        log10_2_high 0x1.344p-2
        log10_2_low 0x1.3509f8p-18
        sqrt2 0x1.6a09e6p0
        half_sqrt2 0x1.6a09e6p-1
        sqrt2_minus_1 0x1.a8279ap-2
        negligible 0x1p-25
        smallest_normal 0x1p-126
        normalizer 0x1p24
        normalizer_exponent 24
        biased_zero 8388735
        exp_lowest -104
        exp_highest 89
        expm1_lowest -20
        exp 0x1p-1 0x1.5554dcp-3 0x1.5554e8p-5 0x1.120c1ep-7 0x1.6d4e6cp-10
        log 0x1.555554p-2 -0x1.ffffe6p-3 0x1.999d2ap-3 -0x1.556288p-3 0x1.23de3cp-3 -0x1.fbbf36p-4 0x1.dc769p-4
            -0x1.ddb286p-4 0x1.2cb0dep-4
        sin -0x1.555552p-3 0x1.110be6p-7 -0x1.9ab408p-13
        cos 0x1.555554p-5 -0x1.6c129ep-10 0x1.9bc76ap-16
        two_over_pi 0x1.45f306p-1
        half_pi_1 0x1.92p0
        half_pi_2 0x1.fb4p-12
        half_pi_3 0x1.444p-24
        half_pi_4 0x1.68c234p-39
        trig_far 6400
        erf_end 4
        erfc_end 10.25
        erfc_center 2
        pow_limit 400
        two_thirds_log2_e 0x1.ec709ep-1
        two_thirds_log2_e_high 0x1.ec6p-1
        two_thirds_log2_e_low 0x1.09dc3ap-13
        pow_ln2_high 0x1.62ep-1
        pow_ln2_low 0x1.0bfbe8p-15
        pi 0x1.921fb6p1
        pi_over_2_to_31 0x1.921fb6p-30
        gamma_far 6
        digamma_root 0x1.762d86p0
        digamma_root_low 0x1.ab5f2p-27
        pow 0x1.33333ap-1 0x1.b6b802p-2 0x1.61f3p-2
        erf 0x1.06eba8p-3 -0x1.81274p-2 0x1.ce2d52p-4 -0x1.b7fec4p-6 0x1.542fecp-8 -0x1.a5197ap-11 0x1.4c5cb4p-14
        erf_tail -0x1.6454dep-12 -0x1.20895cp0 -0x1.46b97cp-1 -0x1.a65dp-4 0x1.65dda4p-6 -0x1.827e5ap-9 0x1.87159cp-13
        erfc 0x1.46e80ep0 -0x1.7bf6p-4 -0x1.540804p-3 0x1.4ffb3cp-3 -0x1.bc129ap-5 -0x1.07affp-7 0x1.1b4adep-7
            0x1.4feca2p-10 -0x1.49aac4p-10 -0x1.86ec3ep-12 0x1.90742ep-16
        digamma 0x1.e6f0ccp-1 -0x1.b1cb68p-2 0x1.eca19p-3 -0x1.2febbep-3 0x1.850eaap-4 -0x1.fc5cd2p-5 0x1.4ea4b8p-5
            -0x1.a67e08p-6 0x1.186978p-6 -0x1.0c43fp-6 0x1.65418ap-7
        digamma_far 0.08333333333333333 -0.008333333333333333 0.003968253968253968 -0.004166666666666667
        trigamma_far 0.16666666666666666 -0.03333333333333333 0.023809523809523808 -0.03333333333333333
    """),
    "float64": _read("""
        shift 0x1.8p52
        log2_e 0x1.71547652b82fep0
        log10_e 0x1.bcb7b1526e50ep-2
        ln2 0x1.62e42fefa39efp-1
        ln2_high 0x1.62e42fefa2p-1
        ln2_low 0x1.9ef35793c7673p-41
        log10_2_high 0x1.34413509f6p-2
        log10_2_low 0x1.9fef311f12b36p-42
        sqrt2 0x1.6a09e667f3bcdp0
        half_sqrt2 0x1.6a09e667f3bcdp-1
        sqrt2_minus_1 0x1.a827999fcef32p-2
        negligible 0x1p-54
        smallest_normal 0x1p-1022
        normalizer 0x1p54
        normalizer_exponent 54
        biased_zero 4503599627371519
        exp_lowest -746
        exp_highest 710
        expm1_lowest -44
        exp 0x1.0000000000001p-1 0x1.5555555555558p-3 0x1.5555555553cc8p-5 0x1.111111110f8d3p-7 0x1.6c16c178b34ap-10
            0x1.a01a01afbca7bp-13 0x1.a019b896f759fp-16 0x1.71ddf774fd279p-19 0x1.2891fac33feefp-22
            0x1.af61e6a5b4eafp-26
        log 0x1.5555555555558p-1 0x1.99999999952d3p-2 0x1.2492492df8288p-2 0x1.c71c62dafe5d8p-3 0x1.7462b7c30167ep-3
            0x1.39fdfad00f45p-3 0x1.2b5d0d1376f18p-3
        sin -0x1.5555555555555p-3 0x1.1111111110c83p-7 -0x1.a01a019ea12efp-13 0x1.71de37b1c6854p-19
            -0x1.ae6020fd65d6ep-26 0x1.5e118c867491fp-33
        cos 0x1.5555555555555p-5 -0x1.6c16c16c168ccp-10 0x1.a01a019f38aeep-16 -0x1.27e4fa036b9b5p-22
            0x1.1eeb584e7aa5ep-29 -0x1.9073d27e1f882p-37
        two_over_pi 0x1.45f306dc9c883p-1
        half_pi_1 0x1.921fb54p0
        half_pi_2 0x1.10b46p-30
        half_pi_3 0x1.1a62633p-54
        half_pi_4 0x1.45c06e0e68948p-86
        trig_far 26000000
        erf_end 5.95
        erfc_end 27.5
        erfc_center 4
        pow_limit 2400
        two_thirds_log2_e 0x1.ec709dc3a03fdp-1
        two_thirds_log2_e_high 0x1.ec709d8p-1
        two_thirds_log2_e_low 0x1.0e80ff5d27f05p-27
        pow_ln2_high 0x1.62e42f8p-1
        pow_ln2_low 0x1.be8e7bcd5e4f2p-27
        pi 0x1.921fb54442d18p1
        pi_over_2_to_31 0x1.921fb54442d18p-30
        gamma_far 12
        digamma_root 0x1.762d86356be3fp0
        digamma_root_low 0x1.b86a722197829p-54
        pow 0x1.3333333333333p-1 0x1.b6db6db6db966p-2 0x1.555555550a04p-2 0x1.1745d1b2f4417p-2 0x1.d89d52c0c6b54p-3
            0x1.99a752734b9c6p-3 0x1.67797ae20aa01p-3 0x1.6812f117ba933p-3 0x1.4175450bd0666p-7
        erf 0x1.06eba8214db69p-3 -0x1.812746b0379fdp-2 0x1.ce2f21a04362dp-4 -0x1.b82ce312abf08p-6 0x1.565bcd12991cp-8
            -0x1.c02db49b09506p-11 0x1.f9a335388d2f6p-14 -0x1.f4d333884b60dp-17 0x1.b9ee95850fe1bp-20
            -0x1.5f9828c564078p-23 0x1.fc78cbcd5b242p-27 -0x1.46794fecbb4b8p-30 0x1.29783048052bbp-34
        erf_tail -0x1.7e5a8ba4214a4p-23 -0x1.20dd567080157p0 -0x1.45f429025e3cbp-1 -0x1.a4da81e2d876p-4
            0x1.38952d960c15fp-6 0x1.258ab33777e39p-12 -0x1.cf9383aa0f9d4p-10 0x1.4fe41fbd5a8fap-11
            -0x1.75189edb51ec9p-15 -0x1.27ebdb9eccdf7p-14 0x1.7a797a0a69057p-15 -0x1.158528492a8fdp-16
            0x1.22e27be77f34bp-18 -0x1.c97fbf37c7d4fp-21 0x1.0e7fd6a84bc88p-23 -0x1.d542035ce0b46p-27
            0x1.1aa2749122bc5p-30 -0x1.a6febfc7230bep-35 0x1.284d9112d764ap-40
        erfc 0x1.3ba5916e9fd7fp0 -0x1.1df1ad154a29p-3 0x1.f7f5df66fc945p-7 0x1.16ecefcfa54e5p-4 -0x1.9ddb23c3e467ap-4
            0x1.7fee004e10155p-4 -0x1.0fb06dfea1fc7p-4 0x1.3079edf6b1a21p-5 -0x1.0962387647f32p-6 0x1.49c6728299a9ep-8
            -0x1.8d4aa604d6313p-11 -0x1.a1df2bd688cb6p-13 0x1.3be10983b66a4p-13 -0x1.995740f4cedb7p-16
            -0x1.78a7c7690882cp-17 0x1.7f05fed357114p-18 0x1.414dd18a20c38p-22 -0x1.b86e7facce90ap-21
            0x1.28d5d9fe948dfp-24 0x1.bb28b1afddb12p-24 -0x1.07986f2409affp-26 -0x1.329a72b5b5fc7p-27
            0x1.2277415cddcc1p-29 -0x1.b7fa86a9e6f9dp-32 -0x1.2d946e1f4db03p-31
        digamma 0x1.e6f0cbb873616p-1 -0x1.b1cb63005ee98p-2 0x1.eca189b8e6f6dp-3 -0x1.2feeeb98a78eap-3
            0x1.8512e5903903ep-4 -0x1.fb44202a2306bp-5 0x1.4de9aa1779d23p-5 -0x1.b9f8b11bfd3dp-6 0x1.2564717896ec6p-6
            -0x1.863563f44f303p-7 0x1.03c0adafa529cp-7 -0x1.5a06a5d662cb4p-8 0x1.cd2011454fd05p-9 -0x1.336dbe66757c8p-9
            0x1.99d3f5c0cad5ep-10 -0x1.0fb38d217b8p-10 0x1.6a3e76070c135p-11 -0x1.fd8e50abf2196p-12
            0x1.53b23429da21bp-12 -0x1.2fae5cb379bf2p-13 0x1.94e73cc9821e1p-14 -0x1.75c084e78a4cdp-13
            0x1.f255c4568ac4dp-14
        digamma_far 0.08333333333333333 -0.008333333333333333 0.003968253968253968 -0.004166666666666667
            0.007575757575757576 -0.021092796092796094 0.08333333333333333 -0.4432598039215686
        trigamma_far 0.16666666666666666 -0.03333333333333333 0.023809523809523808 -0.03333333333333333
            0.07575757575757576 -0.2531135531135531 1.1666666666666667 -7.092156862745098
    """),
}
