//! `docs/config.md`: the reference of all settings, made from the flag tables.

use std::fmt::Write;

use crate::flags::{self, Effect, Flag, Kind, Scope, Section};
use crate::log::VARIABLES;

/// The whole page.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    let live = |flag: &&Flag| flag.effect == Effect::Live && flag.scope.is_configurable();
    for section in Section::ALL {
        let flags: Vec<_> = flags::all().filter(live).filter(|flag| flag.section == section).collect();
        if flags.is_empty() {
            continue;
        }
        let _ =
            writeln!(out, "\n## {}\n\n| Flag | Variable | Default | |\n|---|---|---|---|", section.title());
        for flag in flags {
            row(flag, flag.help, &mut out);
        }
    }
    out.push_str(LOG);
    for variable in VARIABLES {
        let _ = writeln!(out, "| `{}` | {} | {} |", variable.name, code(variable.default), variable.help);
    }
    out.push_str(COMMAND_LINE_ONLY);
    for flag in flags::all().filter(|flag| {
        !flag.scope.is_configurable() && !flag.scope.is_client() && flag.scope != Scope::Version
    }) {
        let _ = writeln!(out, "| {} | {} |", spelling(flag), flag.help);
    }
    out.push_str(WITHOUT_EFFECT);
    for flag in flags::all() {
        if let Effect::NoneHere(reason) = flag.effect {
            row(flag, &format!("{} Nothing follows from it: {reason}.", flag.help), &mut out);
        }
    }
    out
}

fn row(flag: &Flag, help: &str, out: &mut String) {
    let variable = flag.variable().unwrap_or_default();
    let mut help = help.to_owned();
    if let Some(inverse) = flag.inverse {
        let _ =
            write!(help, " `{inverse}` / `{}` say the opposite and win when set.", flags::variable(inverse));
    }
    let default = match flag.kind {
        Kind::Switch(_) => flag.default.to_owned(),
        _ => flag.shown_default(),
    };
    let _ = writeln!(out, "| {} | `{variable}` | {} | {help} |", spelling(flag), code(&default));
}

fn spelling(flag: &Flag) -> String {
    let short = flag.short.map_or_else(String::new, |letter| format!(" `-{letter}`"));
    format!("`--{}`{short}", flag.name)
}

fn code(text: &str) -> String {
    if text.is_empty() { "–".into() } else { format!("`{text}`") }
}

const INTRODUCTION: &str = "\
<!-- Made from the flag tables in crates/lockd/src/flags. To change it, change them and run
     UPDATE_GOLDEN=1 cargo test -p lockd --test documentation -->

# Configuration of the server

Every setting is a flag, an environment variable and a key of the configuration file. A flag on the command line wins
over the variable, the variable over the file, the file over the default. A variable that is set but empty counts as
not set. The key is the flag's name (`drain-grace`), the variable is `LOCKD_` and the name in capitals with `_`
(`LOCKD_DRAIN_GRACE`).

The configuration file is the one named by `--config` (`-c`), else by `LOCKD_CONFIG`, else `config.yaml` in
`LOCKD_CONFIG_DIR` or `~/.lockd` if there is one. The extension says how it is read: `.yaml`, `.yml`, `.json` or
`.toml`. Keys are case-insensitive; a dotted key may be written nested. The same file may hold the settings of other
parts of the product under `client` and `mcp`. A key that nothing reads is warned about at start and otherwise ignored.

```yaml
store: disk:///var/lib/lockd
listen: 127.0.0.1:9341
disable-mtls: true
disable-storage-encryption: true
json-max: 100MiB
drain-grace: 10s
```

Durations are numbers with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`), also several in a row: `30s`, `1m30s`, `1.5s`. A
number without a unit is refused, except `0`. Sizes are bytes or a number with a unit: `KB`, `MB`, `GB` … count in
thousands, `KiB`, `MiB`, `GiB` … in 1024s. Booleans are `true` and `false`; a boolean flag without a value is true, and
takes one only behind an equals sign (`--disable-mtls=false`). Modes are octal; in a file, write them in quotes. A value
that cannot be read stops the start with an error that names the value and where it was set.
";

const LOG: &str = "
## Log

The log is set up by variables alone, except for its level. These have neither a flag nor a key.

| Variable | Default | |
|---|---|---|
";

const COMMAND_LINE_ONLY: &str = "
## On the command line only

| Flag | |
|---|---|
";

const WITHOUT_EFFECT: &str = "
## Accepted without effect

Scripts and files written for other versions may set these. They are checked like all others, warned about once at
start, and change nothing.

| Flag | Variable | Default | |
|---|---|---|---|
";
