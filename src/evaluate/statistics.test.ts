import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Random } from "../base/index.ts";
import { mcnemarExact, minimumDetectableEffect, pairedDifference } from "./paired.ts";
import { wilson } from "./proportion.ts";
import {
  incompleteBeta,
  logGamma,
  normalCdf,
  normalQuantile,
  studentCdf,
  studentQuantile,
} from "./special.ts";

describe("distribution functions against printed tables", () => {
  test("normal", () => {
    expect(normalQuantile(0.975)).toBeCloseTo(1.959963984540054, 12);
    expect(normalQuantile(0.995)).toBeCloseTo(2.5758293035489004, 12);
    expect(normalCdf(-1.96)).toBeCloseTo(0.024997895148220435, 14);
    expect(normalCdf(-1e9)).toBe(0);
    expect(normalCdf(36.9)).toBeCloseTo(1, 12);
  });
  test("Student", () => {
    for (const [df, t] of [
      [1, 12.706204736174698],
      [2, 4.302652729749464],
      [10, 2.2281388519862744],
      [30, 2.0422724563012378],
      [100, 1.9839715185235518],
    ] as const) {
      expect(studentQuantile(0.975, df)).toBeCloseTo(t, 9);
    }
    expect(studentCdf(0, 5)).toBeCloseTo(0.5, 14);
  });
  test("gamma and beta", () => {
    expect(logGamma(0.5)).toBeCloseTo(Math.log(Math.sqrt(Math.PI)), 13);
    expect(logGamma(11)).toBeCloseTo(Math.log(3628800), 12);
    // I_x(a, b) for whole a, b is a binomial tail: P(X >= 3), X ~ Bin(7, 0.3).
    expect(incompleteBeta(0.3, 3, 5)).toBeCloseTo(
      1 - 0.7 ** 7 - 7 * 0.3 * 0.7 ** 6 - 21 * 0.09 * 0.7 ** 5,
      13,
    );
  });
});

describe("Wilson interval", () => {
  test("Newcombe 1998, table I", () => {
    const rounded = (x: number, n: number) => {
      const { low, high } = wilson(x, n);
      return [low.toFixed(4), high.toFixed(4)];
    };
    expect(rounded(81, 263)).toEqual(["0.2553", "0.3662"]);
    expect(rounded(15, 148)).toEqual(["0.0624", "0.1605"]);
    expect(rounded(0, 20)).toEqual(["0.0000", "0.1611"]);
    expect(rounded(1, 29)).toEqual(["0.0061", "0.1718"]);
  });

  test("covers the truth in about 95 % of all repetitions, counted exactly", () => {
    const n = 200;
    let total = 0;
    let points = 0;
    for (let p = 0.02; p < 0.99; p += 0.02) {
      let coverage = 0;
      for (let x = 0; x <= n; x++) {
        const { low, high } = wilson(x, n);
        if (low <= p && p <= high) coverage += binomial(n, x, p);
      }
      expect(coverage).toBeGreaterThan(0.9);
      total += coverage;
      points++;
    }
    expect(total / points).toBeGreaterThan(0.945);
    expect(total / points).toBeLessThan(0.96);
  });

  test("refuses what is not a share", () => {
    for (const [x, n] of [
      [1, 0],
      [-1, 5],
      [6, 5],
      [0.5, 5],
      [Number.NaN, 5],
      [1, Number.NaN],
    ] as const) {
      expect(() => wilson(x, n)).toThrow(RangeError);
    }
  });
});

describe("paired difference", () => {
  test("published examples: Bentur 2009 and its signs turned round", () => {
    // Airway hyper-responsiveness, 21 children: Fagerland, Lydersen & Laake 2014 print Tango's interval as -0.517 to -0.026.
    const { value, low, high } = pairedDifference({ n: 21, gained: 1, lost: 7 });
    expect(value).toBeCloseTo(-0.286, 3);
    expect([low.toFixed(3), high.toFixed(3)]).toEqual(["-0.517", "-0.026"]);
    const turned = pairedDifference({ n: 21, gained: 7, lost: 1 });
    expect(turned.low).toBeCloseTo(-high, 12);
    expect(turned.high).toBeCloseTo(-low, 12);
  });

  test("no flips at all: the closed form z^2 / (n + z^2)", () => {
    const z2 = normalQuantile(0.975) ** 2;
    const { low, high } = pairedDifference({ n: 50, gained: 0, lost: 0 });
    expect(high).toBeCloseTo(z2 / (50 + z2), 12);
    expect(low).toBeCloseTo(-z2 / (50 + z2), 12);
  });

  test("agrees with its slow twin: likelihood maximised on a grid, the score test inverted", () => {
    fc.assert(
      fc.property(table(60), (counts) => {
        const { value, low, high } = pairedDifference(counts);
        expect(low).toBeLessThanOrEqual(value);
        expect(high).toBeGreaterThanOrEqual(value);
        for (const limit of [low, high]) {
          if (Math.abs(limit) < 0.9999) expect(Math.abs(slowScore(counts, limit))).toBeCloseTo(1.959964, 2);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("covers the truth in about 95 % of all repetitions, counted exactly", () => {
    const n = 40;
    const coverages: number[] = [];
    for (const [gain, loss] of [
      [0.05, 0.05],
      [0.1, 0.02],
      [0.2, 0.2],
      [0.4, 0.05],
      [0.5, 0.1],
      [0.02, 0.3],
      [0.01, 0],
    ] as const) {
      let coverage = 0;
      for (let gained = 0; gained <= n; gained++) {
        for (let lost = 0; gained + lost <= n; lost++) {
          const { low, high } = pairedDifference({ n, gained, lost });
          if (low <= gain - loss && gain - loss <= high) coverage += trinomial(n, gained, lost, gain, loss);
        }
      }
      coverages.push(coverage);
    }
    expect(Math.min(...coverages)).toBeGreaterThan(0.92);
    expect(coverages.reduce((a, b) => a + b) / coverages.length).toBeGreaterThan(0.94);
  });

  test("refuses tables that cannot be", () => {
    for (const counts of [
      { n: 0, gained: 0, lost: 0 },
      { n: 3, gained: 2, lost: 2 },
      { n: 3, gained: -1, lost: 0 },
      { n: Number.NaN, gained: 0, lost: 0 },
    ]) {
      expect(() => pairedDifference(counts)).toThrow(RangeError);
    }
  });
});

describe("exact McNemar test", () => {
  test("published examples", () => {
    // Fagerland, Lydersen & Laake 2013: 0.0703 and 0.0525; the manual of statsmodels: 4.434e-06.
    expect(mcnemarExact(1, 7).toFixed(3)).toBe("0.070");
    expect(mcnemarExact(6, 16).toFixed(4)).toBe("0.0525");
    expect(mcnemarExact(121, 59).toExponential(3)).toBe("4.434e-6");
    expect(mcnemarExact(0, 0)).toBe(1);
  });

  test("agrees with exact whole-number arithmetic", () => {
    fc.assert(
      fc.property(fc.nat(90), fc.nat(90), (gained, lost) => {
        let sum = 0n;
        let term = 1n;
        for (let k = 0; k <= Math.min(gained, lost); k++) {
          sum += term;
          term = (term * BigInt(gained + lost - k)) / BigInt(k + 1);
        }
        const whole = 2n ** BigInt(gained + lost);
        const exact = Math.min(1, Number((2n * sum * 10n ** 18n) / whole) / 1e18);
        expect(mcnemarExact(gained, lost)).toBeCloseTo(exact, 11);
      }),
    );
  });
});

describe("minimum detectable effect", () => {
  test("an effect of that size is found in about 80 % of simulated repetitions", () => {
    const n = 250;
    const disagreement = 0.4;
    const effect = minimumDetectableEffect(n, disagreement);
    const random = new Random(5);
    let found = 0;
    const rounds = 1500;
    for (let round = 0; round < rounds; round++) {
      let gained = 0;
      let lost = 0;
      for (let i = 0; i < n; i++) {
        const u = random.next();
        if (u < (disagreement + effect) / 2) gained++;
        else if (u < disagreement) lost++;
      }
      if (pairedDifference({ n, gained, lost }).low > 0) found++;
    }
    expect(found / rounds).toBeGreaterThan(0.76);
    expect(found / rounds).toBeLessThan(0.84);
  });

  test("falls with more items, is at most 1, and is at least what one flip could show", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, psi) => {
        const effect = minimumDetectableEffect(n, psi);
        expect(effect).toBeGreaterThan(0);
        expect(effect).toBeLessThanOrEqual(1);
        expect(minimumDetectableEffect(n * 2, psi)).toBeLessThanOrEqual(effect + 1e-12);
      }),
    );
  });
});

const table = (max: number) =>
  fc
    .tuple(
      fc.integer({ min: 2, max }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    )
    .map(([n, flips, share]) => {
      const flipped = Math.round(n * flips);
      const gained = Math.round(flipped * share);
      return { n, gained, lost: flipped - gained };
    });

/** Score statistic with the chance of a loss found by trying 20,001 values, no algebra. */
function slowScore({ n, gained, lost }: { n: number; gained: number; lost: number }, delta: number): number {
  const from = Math.max(0, -delta);
  const to = (1 - delta) / 2;
  let best = from;
  let bestLikelihood = Number.NEGATIVE_INFINITY;
  const log = (count: number, p: number) => (count === 0 ? 0 : count * Math.log(Math.max(p, 0)));
  for (let i = 0; i <= 20_000; i++) {
    const loss = from + ((to - from) * i) / 20_000;
    const likelihood =
      log(gained, loss + delta) + log(lost, loss) + log(n - gained - lost, 1 - 2 * loss - delta);
    if (likelihood > bestLikelihood) {
      bestLikelihood = likelihood;
      best = loss;
    }
  }
  return (gained - lost - n * delta) / Math.sqrt(n * (2 * best + delta - delta * delta));
}

const choose = (n: number, k: number) => Math.exp(logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1));
const binomial = (n: number, x: number, p: number) => choose(n, x) * p ** x * (1 - p) ** (n - x);
const trinomial = (n: number, a: number, b: number, pa: number, pb: number) =>
  choose(n, a) * choose(n - a, b) * pa ** a * pb ** b * (1 - pa - pb) ** (n - a - b);
