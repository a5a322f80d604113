/** Colours of the load map: blue for less than an even share, orange for more, safe for colour-blind eyes (after ColorBrewer PuOr). */

type Rgb = readonly [number, number, number];

const COLD_LIGHT: readonly Rgb[] = [
  [236, 236, 238],
  [168, 192, 222],
  [92, 134, 190],
  [38, 78, 142],
  [16, 38, 86],
];
const WARM_LIGHT: readonly Rgb[] = [
  [236, 236, 238],
  [247, 204, 148],
  [232, 150, 60],
  [190, 92, 8],
  [112, 46, 4],
];

const COLD_DARK: readonly Rgb[] = [
  [40, 44, 51],
  [44, 80, 128],
  [66, 126, 194],
  [122, 178, 236],
  [198, 224, 250],
];
const WARM_DARK: readonly Rgb[] = [
  [40, 44, 51],
  [112, 70, 24],
  [186, 108, 26],
  [240, 160, 70],
  [255, 218, 168],
];

/**
 * Colour of a load that is `ratio` times an even share, on a logarithmic scale from a quarter to four times: an even share is near
 * the paper's own colour, and what is far from it stands out, on a light page and on a dark one.
 */
export function loadColour(ratio: number, dark: boolean): string {
  const octaves = ratio <= 0 ? -2 : Math.max(-2, Math.min(2, Math.log2(ratio)));
  const ramp = dark ? (octaves < 0 ? COLD_DARK : WARM_DARK) : octaves < 0 ? COLD_LIGHT : WARM_LIGHT;
  const at = Math.abs(octaves) * 2;
  const index = Math.min(3, Math.floor(at));
  const low = ramp[index] as Rgb;
  const high = ramp[index + 1] as Rgb;
  const mix = low.map((value, i) => Math.round(value + ((high[i] as number) - value) * (at - index)));
  return `rgb(${mix.join(",")})`;
}
