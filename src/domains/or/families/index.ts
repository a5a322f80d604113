import type { Family } from "../teller.ts";
import { assignment } from "./assignment.ts";
import { blending } from "./blending.ts";
import { diet } from "./diet.ts";
import { knapsack } from "./knapsack.ts";
import { productMix } from "./product-mix.ts";
import { transportation } from "./transportation.ts";

export const FAMILIES: readonly Family[] = [productMix, diet, blending, transportation, assignment, knapsack];
