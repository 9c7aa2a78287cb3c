//! Lines for `eval` by a POSIX shell.

/// `export NAME="value"`. Plain values stand in double quotes, as they always have; any other text in single quotes,
/// where nothing but the quote itself has a meaning.
pub(super) fn line(name: &str, value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=@%+,-".contains(&byte);
    if value.bytes().all(plain) {
        return format!("export {name}=\"{value}\"\n");
    }
    format!("export {name}='{}'\n", value.replace('\'', r"'\''").replace('\0', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_exported() {
        for value in
            ["", "plain/1", "a$(echo x)b", "`id`", "it's", "\"", "\\", "a\nb", "$HOME", "é ü", "!x", "*"]
        {
            let script = format!("{}printf %s \"$X\"", line("X", value));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value, "{script}");
        }
        assert_eq!(line("A", "orders/1"), "export A=\"orders/1\"\n");
    }
}
