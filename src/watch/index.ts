/** The night watch: rules that turn signals into alarms with remedies. Pure. */
export { observe } from "./observe.ts";
export { patience, type Rule, RULES, secondsUntil } from "./rules.ts";
export { type Policy, restartsSpent, startWatch, type WatchState } from "./state.ts";
export { nightWatch, see } from "./watch.ts";
