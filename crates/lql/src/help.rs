//! The texts of `--help` and of mistakes, made from the table of flags, at most 100 columns wide.

use std::fmt::Write;

use crate::flags::FLAGS;

const WIDTH: usize = 100;
const INDENT: usize = 10;
/// Stands for a blank that must not become the end of a line.
const NO_BREAK: char = '\u{a0}';

/// The few lines that go with a mistake in the command line.
pub(crate) fn usage(name: &str) -> String {
    format!("Usage:\n  {name} [flags] SELECTOR [FILE]...\n\nRun '{name} --help' for all flags.\n\n")
}

pub(crate) fn text(name: &str) -> String {
    let mut out = HEAD.replace("NAME", name);
    for flag in FLAGS {
        let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        let _ = writeln!(out, "  {}", format!("{short}--{} {}", flag.name, flag.placeholder).trim_end());
        wrap(flag.help, &mut out);
    }
    out.push_str(TAIL);
    out
}

/// Breaks text at blanks.
fn wrap(text: &str, out: &mut String) {
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.extend(std::iter::repeat_n(' ', INDENT));
            column = INDENT;
        } else {
            out.push(' ');
            column += 1;
        }
        out.extend(word.chars().map(|letter| if letter == NO_BREAK { ' ' } else { letter }));
        column += width;
    }
    out.push('\n');
}

const HEAD: &str = "\
NAME selects documents from JSON and NDJSON, cuts fields out of them and edits them.

Usage:
  NAME [flags] SELECTOR [FILE]...

Examples:
  NAME '/status=open,/total>=100' orders.ndjson
  NAME 'icontains{f=/...,a=\"timeout|refused\"}' -c log.ndjson
  NAME . -f /id,/lines[]/sku orders.json
  NAME '/id=7' -a -m '/status=done' -m '/tries++' -m 'rm:/lock' < in.ndjson > out.ndjson

The documents of a file follow each other in any layout, one on a line or not. The elements of an
array that stands at the top of a file are documents of their own. Without files, or for '-', stdin
is read. Every document is printed on one line.

Selectors:
  /path=value  != > >= < <=     compare; dates and times too
  /a=1,/b=2                     both
  or.eq{f=/a,v=1},or.eq{f=/b,v=2}
                                either
  not.exists{/path}             negation
  contains prefix icontains iprefix in range date exists
                                as TERM{f=/path,v=value}, a=x|y for several values
  .                             every document
  {\"eq\":{...}}                  the JSON form
Paths:
  /a/b  /list/0                 members and elements
  *  []  **  ...                any member, any element, any child, any depth
Mutations:
  /path=value  /path++  /path=+5
                                set and increment
  rm:/path                      remove
  /path{/a=1,/b++}              several below a path
  time:/path=NOW                set to the time
  file:/path=name               set to what a file contains (textfile:, base64file:)

Flags:
";

const TAIL: &str = "
Exit status: 0 if a document was selected, 1 if none was, 2 if something went wrong.
";
