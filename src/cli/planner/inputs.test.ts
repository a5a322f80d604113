import { expect, test } from "vitest";
import { TesseraError } from "../../base/index.ts";
import { traitsOf } from "./inputs.ts";

test("traits are read by the names and limits of a case", () => {
  expect(traitsOf("deduplicate, overlapExpert=0.8,overlapData=false,compute=fp8")).toEqual({
    deduplicate: true,
    overlapExpert: 0.8,
    overlapData: false,
    compute: "fp8",
  });
  for (const wrong of ["dedup", "overlapExpert=2", "overlapExpert", "deduplicate=maybe", "", "compute=fp6"]) {
    expect(() => traitsOf(wrong), wrong).toThrow(TesseraError);
  }
});
