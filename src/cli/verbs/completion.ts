import { Argument } from "commander";
import { EXIT } from "../../base/index.ts";
import type { Verb } from "../context.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** Prints a completion script built from the commands as they are, so that it cannot go stale. */
export const completion: Verb = {
  name: "completion",
  summary: {
    en: "print a shell completion script (bash, zsh, fish)",
    zh: "輸出 shell 自動補全腳本（bash、zsh、fish）",
  },
  define(command, act) {
    command.addArgument(new Argument("<shell>").choices(SHELLS)).action((shell: (typeof SHELLS)[number]) =>
      act((context) => {
        const program = command.parent;
        const entries = (program?.commands ?? []).map((verb) => ({
          name: verb.name(),
          about: verb.description().replaceAll("'", ""),
          flags: verb.options.flatMap((option) => (option.long ? [option.long] : [])),
        }));
        const script = shell === "fish" ? fish(entries) : bash(entries, shell === "zsh");
        context.out(script);
        context.data({ schema: "tessera.completion/v1", shell, script });
        return EXIT.done;
      }),
    );
  },
};

type Entry = { readonly name: string; readonly about: string; readonly flags: readonly string[] };

function bash(entries: readonly Entry[], zsh: boolean): string {
  const cases = entries.map((entry) => `    ${entry.name}) words="${entry.flags.join(" ")}" ;;`).join("\n");
  return `${zsh ? "autoload -U +X bashcompinit && bashcompinit\n" : ""}_tessera() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words
  case "\${COMP_WORDS[1]}" in
${cases}
    *) words="" ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="${entries.map((entry) => entry.name).join(" ")}"; fi
  COMPREPLY=( $(compgen -W "$words" -- "$current") )
  [ "\${#COMPREPLY[@]}" -eq 0 ] && COMPREPLY=( $(compgen -f -- "$current") )
}
complete -o filenames -F _tessera tessera`;
}

function fish(entries: readonly Entry[]): string {
  return entries
    .flatMap((entry) => [
      `complete -c tessera -n __fish_use_subcommand -a ${entry.name} -d '${entry.about}'`,
      ...entry.flags.map(
        (flag) => `complete -c tessera -n '__fish_seen_subcommand_from ${entry.name}' -l ${flag.slice(2)}`,
      ),
    ])
    .join("\n");
}
