import { effect, signal } from "@preact/signals";
import { render } from "preact";
import type { Lang } from "../../../src/base/index.ts";
import { App } from "./app.tsx";
import "./style.css";

export const lang = signal<Lang>(navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
export const theme = signal<"light" | "dark">(
  matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
);
effect(() => {
  document.documentElement.lang = lang.value === "zh" ? "zh-Hant" : "en";
});
effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
});
render(<App lang={lang} theme={theme} />, document.getElementById("app") as HTMLElement);
