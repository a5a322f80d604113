import { useRef, useState } from "preact/hooks";
import { type Lang, say } from "../../../src/base/index.ts";
import type { Export } from "./protocol.ts";
import { word } from "./words.ts";

/** Settings of other stacks, one tab each; arrow keys walk the tabs. */
export function Exports({ exports, lang }: { exports: Readonly<Record<string, Export>>; lang: Lang }) {
  const names = Object.keys(exports);
  const [at, setAt] = useState(names[0] as string);
  const [copied, setCopied] = useState(false);
  const tabs = useRef<HTMLDivElement>(null);
  const choose = (name: string) => {
    setAt(name);
    setCopied(false);
  };
  const walk = (event: KeyboardEvent) => {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (by === 0) return;
    event.preventDefault();
    const next = (names.indexOf(at) + by + names.length) % names.length;
    choose(names[next] as string);
    (tabs.current?.children[next] as HTMLElement | undefined)?.focus();
  };
  const shown = exports[at] as Export;
  const text = say(shown.text, lang);
  return (
    <>
      <div class="tabs" role="tablist" aria-label={word("exports", lang)} ref={tabs} onKeyDown={walk}>
        {names.map((name) => (
          <button
            key={name}
            id={`tab-${name}`}
            type="button"
            role="tab"
            class={exports[name]?.ok ? "" : "off"}
            aria-selected={name === at}
            aria-controls="settings"
            tabIndex={name === at ? 0 : -1}
            onClick={() => choose(name)}
          >
            {name}
          </button>
        ))}
      </div>
      <div id="settings" role="tabpanel" aria-labelledby={`tab-${at}`} class="settings">
        {shown.ok ? (
          <>
            <button
              type="button"
              class="copy"
              onClick={() => {
                navigator.clipboard.writeText(text).then(
                  () => setCopied(true),
                  () => setCopied(false),
                );
              }}
            >
              {word(copied ? "copied" : "copy", lang)}
            </button>
            <pre tabIndex={0}>{text}</pre>
          </>
        ) : (
          <p class="dim">{text}</p>
        )}
      </div>
    </>
  );
}
