/**
 * Completions for bash, zsh and fish, made from the command tree.
 * `deno task completions FOLDER` writes them.
 *
 * @module
 */

import { selectorHelp } from "../../lib/collection/selectors.ts";
import { linux } from "../../lib/platform/linux/system.ts";
import { say } from "../../tests/support/say.ts";
import { type CommandPage, commandPages, type OptionEntry } from "./tree.ts";

/** What an argument of a command is completed with. */
type Kind = "selector" | "pid" | "group" | "command" | "none";

/** By the name of the argument in help. */
const KINDS: Readonly<Record<string, Kind>> = {
  selector: "selector",
  pid: "pid",
  name: "group",
  command: "command",
};

/** What the value of an option is completed with. */
function valueKind({ flags }: OptionEntry): "file" | "directory" | "none" {
  if (flags.includes("<file>")) return "file";
  return flags.includes("<directory>") ? "directory" : "none";
}

function kindOf({ arguments: [first] }: CommandPage): Kind {
  return first ? KINDS[first.name] ?? "none" : "none";
}

/** The file of each shell, below the root of an installation, and its text. */
export async function completionFiles(): Promise<Map<string, string>> {
  const [program, ...commands] = await commandPages();
  return new Map([
    [
      "usr/share/bash-completion/completions/rcap",
      bashCompletion(program, commands),
    ],
    [
      "usr/share/zsh/vendor-completions/_rcap",
      zshCompletion(program, commands),
    ],
    [
      "usr/share/fish/vendor_completions.d/rcap.fish",
      fishCompletion(program, commands),
    ],
  ]);
}

/** The words that selectors begin with: `user:`. */
function selectorPrefixes(): string[] {
  return selectorHelp(linux).map(([form]) =>
    form.slice(0, form.indexOf(":") + 1)
  );
}

/** Quotes text for sh, zsh and fish alike: backslashes within are written otherwise. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "\u2019").replaceAll("\\", "/")}'`;
}

function flagsOf({ short, long }: OptionEntry): string[] {
  return [short, long].filter((flag) => flag !== undefined);
}

// Names that other users have chosen are compared as text and quoted, and never
// evaluated: `compgen -W` would run what they contain.
function bashCompletion(
  program: CommandPage,
  commands: readonly CommandPage[],
): string {
  const all = [program, ...commands].flatMap(({ options }) => options);
  const withValue = uniqueBy(
    all.filter(({ takesValue }) => takesValue),
    ({ flags }) => flags,
  );
  return `# bash completion for rcap

# Adds those words to the completions that begin as the current one.
_rcap_offer() {
  local word quoted
  for word in "$@"; do
    printf -v quoted %q "$word"
    [[ $quoted == "$_rcap_current"* ]] && COMPREPLY+=("$quoted")
  done
}

_rcap_lines() {
  local -a lines
  mapfile -t lines
  _rcap_offer "\${lines[@]}"
}

_rcap_selector() {
  case $_rcap_current in
    user:*) _rcap_lines < <(getent passwd | sed 's/^\\([^:]*\\):.*/user:\\1/') ;;
    unit:*) _rcap_lines < <(systemctl list-units --all --plain --full --no-legend 2>/dev/null | sed -n 's/^ *\\([^ ]*\\.\\(service\\|scope\\|slice\\)\\) .*/unit:\\1/p') ;;
    pid:* | tree:*) _rcap_lines < <(cd /proc && printf "\${_rcap_current%%:*}:%s\\n" [0-9]*) ;;
    exe:*)
      local path
      compopt -o filenames
      while IFS= read -r path; do COMPREPLY+=("exe:$path"); done < <(compgen -f -- "\${_rcap_current#exe:}")
      ;;
    *)
      _rcap_offer ${selectorPrefixes().join(" ")}
      compopt -o nospace
      ;;
  esac
}

_rcap() {
  COMPREPLY=()
  local line=\${COMP_LINE:0:COMP_POINT} command= options= kind= word
  local _rcap_current=\${line##*[[:space:]]}
  local -a words
  read -ra words <<<"\${line%"$_rcap_current"}"
  local previous=\${words[-1]}
  for word in "\${words[@]:1}"; do
    case $word in
      ${commands.map(({ name }) => name).join(" | ")}) command=$word; break ;;
    esac
  done
  case $previous in
${
    withValue.map((option) =>
      `    ${flagsOf(option).join(" | ")}) ${
        option.choices.length > 0
          ? `_rcap_offer ${option.choices.join(" ")}`
          : valueKind(option) === "none"
          ? ":"
          : `compopt -o filenames; mapfile -t COMPREPLY < <(compgen -${
            valueKind(option) === "file" ? "f" : "d"
          } -- "$_rcap_current")`
      }; return ;;`
    ).join("\n")
  }
  esac
  case $command in
${
    [...commands, { ...program, name: '""' }].map((page) =>
      `    ${page.name}) options="${
        page.options.flatMap(flagsOf).join(" ")
      }" kind=${page.name === '""' ? "command" : kindOf(page)} ;;`
    ).join("\n")
  }
  esac
  # The words of options are rcap's own.
  if [[ $_rcap_current == -* ]]; then
    _rcap_offer $options
  else
    case $kind in
      command) _rcap_offer ${commands.map(({ name }) => name).join(" ")} ;;
      selector) _rcap_selector ;;
      pid) _rcap_lines < <(cd /proc && printf '%s\\n' [0-9]*) ;;
      group) [[ $previous == "$command" ]] && _rcap_lines < <(command rcap stat 1 1 -H -o name 2>/dev/null) ;;
    esac
  fi
  # Readline replaces only what is behind the last colon.
  if [[ $COMP_WORDBREAKS == *:* && $_rcap_current == *:* ]]; then
    local before=\${_rcap_current%"\${_rcap_current##*:}"}
    COMPREPLY=("\${COMPREPLY[@]#"$before"}")
  fi
}

complete -F _rcap rcap
`;
}

function zshCompletion(
  program: CommandPage,
  commands: readonly CommandPage[],
): string {
  const specs = (page: CommandPage) =>
    page.options.map((option) => {
      const flags = flagsOf(option);
      const described = `[${
        option.description.replaceAll(/[\[\]]/g, "").replaceAll(":", "\\:")
      }]`;
      const value = !option.takesValue
        ? ""
        : option.choices.length > 0
        ? `:value:(${option.choices.join(" ")})`
        : {
          file: ":file:_files",
          directory: ":directory:_files -/",
          none: ":value: ",
        }[
          valueKind(option)
        ];
      const exclusive = `'(${flags.join(" ")})'`;
      const names = flags.length > 1 ? `{${flags.join(",")}}` : flags[0];
      return `${exclusive}${names}${quoted(described + value)}`;
    });
  const actions: Readonly<Record<Kind, string>> = {
    selector: "'*:selector:_rcap_selector'",
    pid: "'1:process:_rcap_pid'",
    group: "'1:group:_rcap_group'",
    command: "'1:command:_rcap_command'",
    none: "",
  };
  const argumentsOf = (page: CommandPage) =>
    ["_arguments -s", ...specs(page), actions[kindOf(page)]]
      .filter((part) => part !== "").join(" \\\n        ");
  return `#compdef rcap
# zsh completion for rcap

_rcap_command() {
  local -a commands=(
${
    commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`)
      .join("\n")
  }
  )
  _describe command commands
}

_rcap_selector() {
  local -a found
  if compset -P 'user:'; then
    found=(\${\${(f)"$(getent passwd)"}%%:*})
    compadd -a found
  elif compset -P 'unit:'; then
    found=(\${\${(f)"$(systemctl list-units --all --plain --full --no-legend 2>/dev/null)"}%% *})
    found=(\${(M)found:#*.(service|scope|slice)})
    compadd -a found
  elif compset -P '(pid|tree):'; then
    _rcap_pid
  elif compset -P 'exe:'; then
    _files
  else
    compadd -S '' -- ${selectorPrefixes().join(" ")}
  fi
}

_rcap_pid() {
  local -a found=(/proc/[0-9]*(N:t))
  compadd -a found
}

_rcap_group() {
  local -a found=(\${(f)"$(command rcap stat 1 1 -H -o name 2>/dev/null)"})
  compadd -a found
}

_rcap() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -C -s \\
    ${specs(program).join(" \\\n    ")} \\
    '1:command:_rcap_command' \\
    '*::argument:->argument' && return
  [[ $state == argument ]] || return
  case $words[1] in
${
    commands.map((page) =>
      `    ${page.name})
      ${argumentsOf(page)} ;;`
    ).join("\n")
  }
  esac
}

if [[ $funcstack[1] == _rcap ]]; then
  _rcap "$@"
else
  compdef _rcap rcap
fi
`;
}

function fishCompletion(
  program: CommandPage,
  commands: readonly CommandPage[],
): string {
  const option = (entry: OptionEntry, condition: string) => {
    const { short, long, takesValue, choices, description } = entry;
    const kind = valueKind(entry);
    return [
      "complete -c rcap",
      condition,
      ...short ? [`-s ${short.slice(1)}`] : [],
      ...long ? [`-l ${long.slice(2)}`] : [],
      ...takesValue ? [kind === "file" ? "-r -F" : "-x"] : [],
      ...choices.length > 0 ? [`-a ${quoted(choices.join(" "))}`] : [],
      ...kind === "directory" ? ["-a '(__fish_complete_directories)'"] : [],
      `-d ${quoted(description)}`,
    ].join(" ");
  };
  const globals = new Set(program.options.map(({ flags }) => flags));
  const helpers: Readonly<Record<Kind, string>> = {
    selector: "(__rcap_selectors)",
    pid: "(__fish_complete_pids)",
    group: "(__rcap_groups)",
    command: commands.map(({ name }) => name).join(" "),
    none: "",
  };
  const lines = commands.flatMap((page) => {
    const condition = `-n '__fish_seen_subcommand_from ${page.name}'`;
    const kind = helpers[kindOf(page)];
    return [
      `complete -c rcap -n __rcap_needs_command -a ${page.name} -d ${
        quoted(page.summary)
      }`,
      ...kind === "" ? [] : [`complete -c rcap ${condition} -a '${kind}'`],
      ...page.options.filter(({ flags }) => !globals.has(flags))
        .map((entry) => option(entry, condition)),
    ];
  });
  return `# fish completion for rcap

function __rcap_needs_command
    not __fish_seen_subcommand_from ${
    commands.map(({ name }) => name).join(" ")
  }
end

function __rcap_selectors
    switch (commandline -ct)
        case 'user:*'
            getent passwd | string replace -r '^([^:]*):.*' 'user:$1'
        case 'unit:*'
            systemctl list-units --all --plain --full --no-legend 2>/dev/null | string match -r '^\\S+\\.(?:service|scope|slice)(?= )' | string replace -r '^' 'unit:'
        case 'pid:*' 'tree:*'
            set -l kind (string replace -r ':.*' '' -- (commandline -ct))
            for path in /proc/[0-9]*
                echo "$kind:"(string replace /proc/ '' -- $path)
            end
        case 'exe:*'
            for path in (string replace exe: '' -- (commandline -ct))*
                echo "exe:$path"
            end
        case '*'
            printf '%s\\n' ${selectorPrefixes().join(" ")}
    end
end

function __rcap_groups
    command rcap stat 1 1 -H -o name 2>/dev/null
end

complete -c rcap -f
${program.options.map((entry) => option(entry, "")).join("\n")}
${lines.join("\n")}
`;
}

function uniqueBy<T>(items: readonly T[], key: (item: T) => string): T[] {
  return Array.from(new Map(items.map((item) => [key(item), item])).values());
}

/** Writes all completions below the root of an installation. */
export async function writeCompletions(root: string): Promise<void> {
  for (const [path, text] of await completionFiles()) {
    const file = `${root}/${path}`;
    Deno.mkdirSync(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    Deno.writeTextFileSync(file, text);
  }
}

if (import.meta.main) {
  const root = Deno.args[0] ?? "dist/completions";
  await writeCompletions(root);
  say(`wrote the completions to ${root}`);
}
