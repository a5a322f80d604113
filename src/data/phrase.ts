/** How lists and values beside names are said, in both languages: shared by every text producer. */
export type Language = "en" | "zh";

export const SERIES_SHAPES = ["for", "plain", "bracket", "bare"] as const;
export type SeriesShape = (typeof SERIES_SHAPES)[number];

/** "a, b and c" or "a、b和c". */
export function listText(language: Language, items: readonly string[]): string {
  const last = items.at(-1) ?? "";
  if (items.length < 2) return last;
  const rest = items.slice(0, -1);
  return language === "en" ? `${rest.join(", ")} and ${last}` : `${rest.join("、")}和${last}`;
}

/** Values beside their names; "bare" leaves the names out because they were said before, in the same order. */
export function seriesText(
  language: Language,
  shape: SeriesShape,
  names: readonly string[],
  values: readonly (number | string)[],
): string {
  const en = language === "en";
  switch (shape) {
    case "for":
      return listText(
        language,
        names.map((name, i) => (en ? `${values[i]} for ${name}` : `${name}計${values[i]}`)),
      );
    case "plain":
      return names
        .map((name, i) => (en ? `${name} ${values[i]}` : `${name}${values[i]}`))
        .join(en ? ", " : "、");
    case "bracket":
      return listText(
        language,
        names.map((name, i) => (en ? `${name} (${values[i]})` : `${name}（${values[i]}）`)),
      );
    case "bare": {
      const shown = listText(language, values.map(String));
      return en ? `${shown} respectively` : `依次${shown}`;
    }
  }
}
