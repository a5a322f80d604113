import { effect, signal } from "@preact/signals";
import { render } from "preact";
import type { Lang } from "../../../src/base/index.ts";
import { App } from "./app.tsx";
import { fromHash } from "./state.ts";
import "./style.css";

const { words } = fromHash(location.hash);
const chosen = words.get("lang") ?? navigator.language.toLowerCase();
const lang = signal<Lang>(chosen.startsWith("zh") ? "zh" : "en");
const shade = words.get("theme");
const theme = signal<"light" | "dark">(
  shade === "dark" || (shade !== "light" && matchMedia("(prefers-color-scheme: dark)").matches)
    ? "dark"
    : "light",
);
effect(() => {
  document.documentElement.lang = lang.value === "zh" ? "zh-Hant" : "en";
  document.title = lang.value === "zh" ? "Tessera 規劃" : "Tessera planner";
});
effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
});
render(<App lang={lang} theme={theme} />, document.getElementById("app") as HTMLElement);
