/** Languages of the screen. Every text a person reads exists in all of them; JSON keys and codes do not change. */
export type Lang = "en" | "zh";
export const LANGS: readonly Lang[] = ["en", "zh"];

/** One message in every language. `{name}` marks a parameter. */
export type Text = { readonly [L in Lang]: string };
/** What fills the marks of a text; a part that is itself text stands in both languages. */
export type Params = Readonly<Record<string, string | number | Text>>;

/** Message in one language with its parameters filled in; an unknown parameter is left visible, never blank. */
export function say(text: Text, lang: Lang, params: Params = {}): string {
  return text[lang].replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = params[name];
    return value === undefined ? whole : typeof value === "object" ? value[lang] : String(value);
  });
}

/** Language asked for: `--lang`, then TESSERA_LANG, then the locale variables, else English. */
export function pickLang(asked: string | undefined, env: Readonly<Record<string, string | undefined>>): Lang {
  for (const value of [asked, env["TESSERA_LANG"], env["LC_ALL"], env["LC_MESSAGES"], env["LANG"]]) {
    if (value) return value.toLowerCase().startsWith("zh") ? "zh" : "en";
  }
  return "en";
}
