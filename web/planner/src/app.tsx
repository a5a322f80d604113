import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { type Lang, say } from "../../../src/base/index.ts";
import { ControlPanel } from "./controls.tsx";
import type { Answer, Ask, Failure, Question, View, Winner } from "./protocol.ts";
import { type Extras, Result } from "./result.tsx";
import { type Controls, fromHash, toHash } from "./state.ts";
import { type Word, word } from "./words.ts";

type Planned = Extract<Answer, { kind: "plan" }>;
type Props = { readonly lang: Signal<Lang>; readonly theme: Signal<"light" | "dark"> };
/** A slider at rest for this long gets the whole space searched, and the address updated. */
const REST_MS = 250;

export function App({ lang, theme }: Props) {
  const controls = useSignal<Controls>(fromHash(location.hash).controls);
  const planned = useSignal<Planned | undefined>(undefined);
  const failure = useSignal<Failure | undefined>(undefined);
  const looked = useSignal<View | undefined>(undefined);
  const extras = useSignal<Extras>({});
  const stale = useSignal(false);
  const asked = useRef(0);
  const shown = useRef(0);
  const winner = useRef<Winner | undefined>(undefined);
  const workers = useRef<{ quick: Worker; whole: Worker } | undefined>(undefined);
  const rest = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const l = lang.value;
  const w = (key: Word) => word(key, l);

  const take = (answer: Answer) => {
    if (answer.kind === "rejected") {
      extras.value = { ...extras.value, rejected: answer };
      return;
    }
    if (answer.id < shown.current) return;
    if (answer.kind === "plan") {
      shown.current = answer.id;
      planned.value = answer;
      failure.value = undefined;
      looked.value = undefined;
      const { layout, training } = answer.plan;
      const near = { layout, microBatch: training.microBatch };
      // The first drag should not pay for reading the model and for compiling the planner.
      if (winner.current === undefined) {
        const warm = { id: 0, mode: "drag", warm: true, winner: near, controls: controls.value } as const;
        workers.current?.quick.postMessage(warm satisfies Ask);
      }
      winner.current = near;
      if (answer.full) extras.value = {};
      stale.value = !answer.full;
    } else if (answer.kind === "failed") {
      shown.current = answer.id;
      failure.value = answer.failure;
      stale.value = !answer.full;
    } else if (answer.kind === "look") looked.value = answer.view;
    else if (!stale.value) extras.value = { ...extras.value, ...answer };
  };
  const send = (to: "quick" | "whole", ask: Question) => {
    // "Why not" only reads what the last search left; it must not make that search look outdated.
    const id = ask.mode === "why" ? asked.current : ++asked.current;
    document.body.dataset["asked"] = String(id);
    workers.current?.[to].postMessage({ ...ask, id, controls: controls.value } satisfies Ask);
  };
  const words = () => ({ lang: lang.value, theme: theme.value });
  const settle = () => {
    send("whole", { mode: "full" });
    history.replaceState(null, "", `#${toHash(controls.value, words())}`);
  };
  const set = (change: Partial<Controls>) => {
    controls.value = { ...controls.value, ...change };
    clearTimeout(rest.current);
    const near = winner.current;
    const another = "config" in change || "engine" in change || "model" in change;
    if (near && !another) {
      send("quick", { mode: "drag", winner: near });
      const stop = { id: asked.current, mode: "stop", controls: controls.value } as const;
      workers.current?.whole.postMessage(stop satisfies Ask);
      rest.current = setTimeout(settle, REST_MS);
    } else settle();
  };

  useEffect(() => {
    const start = () => {
      const made = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
      made.onmessage = (event: MessageEvent<Answer>) => take(event.data);
      return made;
    };
    const made = { quick: start(), whole: start() };
    workers.current = made;
    settle();
    const moved = () => {
      const next = fromHash(location.hash);
      controls.value = next.controls;
      settle();
    };
    addEventListener("hashchange", moved);
    return () => {
      removeEventListener("hashchange", moved);
      made.quick.terminate();
      made.whole.terminate();
    };
  }, []);
  useEffect(() => {
    history.replaceState(null, "", `#${toHash(controls.value, words())}`);
  }, [l, theme.value]);

  const p = planned.value;
  return (
    <>
      <header>
        <h1>{w("title")}</h1>
        <span class="grow">{w("tagline")}</span>
        <button type="button" id="language" onClick={() => (lang.value = l === "en" ? "zh" : "en")}>
          {l === "en" ? "中文" : "English"}
        </button>
        <button
          type="button"
          id="theme"
          aria-label={w(theme.value === "dark" ? "light" : "dark")}
          onClick={() => (theme.value = theme.value === "dark" ? "light" : "dark")}
        >
          {theme.value === "dark" ? "☀" : "☾"}
        </button>
      </header>
      <main>
        <ControlPanel controls={controls.value} set={set} lang={l} />
        {/* The question that what stands here answers, a plan or why there is none: whoever times the page reads it. */}
        <div class="results" data-answer={shown.current}>
          {failure.value ? <Problem failure={failure.value} lang={l} /> : null}
          {p ? (
            <Result
              plan={p.plan}
              view={looked.value ?? p.view}
              looking={looked.value !== undefined}
              ms={p.ms}
              id={p.id}
              full={p.full}
              stale={stale.value || failure.value !== undefined}
              dimmed={failure.value !== undefined}
              extras={extras.value}
              lang={l}
              theme={theme.value}
              look={(look) => {
                if (look) send("quick", { mode: "look", look });
                else looked.value = undefined;
              }}
              why={(text) => send("whole", { mode: "why", words: text })}
            />
          ) : failure.value ? null : (
            <p class="dim" role="status">
              {w("searching")}
            </p>
          )}
        </div>
      </main>
    </>
  );
}

function Problem({ failure, lang }: { failure: Failure; lang: Lang }) {
  return (
    <section class="card problem" role="alert">
      <h2>
        {word("failed", lang)}
        <small>{failure.code}</small>
      </h2>
      <p>{say(failure.message, lang)}</p>
      {failure.next ? <p class="dim">{`→ ${say(failure.next, lang)}`}</p> : null}
    </section>
  );
}
