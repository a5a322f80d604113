import { expect, test } from "vitest";
import { formatSeconds } from "./units.ts";

test("seconds of any size and sign are told in a unit that shows them", () => {
  expect([0, 0.00004, 0.0004, 0.0006, 0.34, 12.34, 245, 7380, -0.2, -100].map(formatSeconds)).toEqual([
    "0 ms",
    "40.0 µs",
    "400 µs",
    "1 ms",
    "340 ms",
    "12.3 s",
    "4 m 05 s",
    "2 h 03 m",
    "-200 ms",
    "-1 m 40 s",
  ]);
});
