import type { Family } from "../teller.ts";
import { assignment } from "./assignment.ts";
import { blending } from "./blending.ts";
import { cuttingStock } from "./cutting-stock.ts";
import { diet } from "./diet.ts";
import { facilityLocation } from "./facility-location.ts";
import { knapsack } from "./knapsack.ts";
import { lotSizing } from "./lot-sizing.ts";
import { productMix } from "./product-mix.ts";
import { projectSelection } from "./project-selection.ts";
import { setCover } from "./set-cover.ts";
import { shiftCovering } from "./shift-covering.ts";
import { transportation } from "./transportation.ts";

/** Every family, in the order in which the generator takes turns. Add new ones at the end of the list, never in the middle. */
export const FAMILIES: readonly Family[] = [
  productMix,
  diet,
  blending,
  transportation,
  assignment,
  knapsack,
  setCover,
  lotSizing,
  facilityLocation,
  projectSelection,
  cuttingStock,
  shiftCovering,
];
