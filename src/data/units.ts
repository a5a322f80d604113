/** Text as units for comparing: Latin words in lower case, Han characters one by one, whole numbers; the rest is dropped. */
const UNIT = /\d+(?:[.,]\d+)*|\p{Script=Han}|[\p{L}\p{M}]+/gu;

export const unitsOf = (text: string): string[] => text.toLowerCase().match(UNIT) ?? [];
export const isNumber = (unit: string): boolean => /^\d/.test(unit);

/** FNV-1a, 32 bits, with a final mix: a fast feature hash, not an identity. */
export function hash32(text: string, seed = 0x811c9dc5): number {
  let h = seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
