//! Documents and lists of mutations that are made to take much time or memory.

use crate::condition::Instant;

use super::{
    states::{Bounds, States},
    *,
};

fn program(items: &[String]) -> Program {
    Mutations::parse_list(items, &ParseOptions::default()).unwrap().compile(Instant(0))
}

/// An editor that may spend little, so that what is refused is refused soon even without optimisation.
fn frugal(items: &[String]) -> Editor {
    let code = program(items).code;
    let states = States::new(code.clone(), Bounds { work: 5_000_000, ..Bounds::default() });
    Editor::with_states(code, EditLimits::default(), None, states)
}

fn edit(editor: &mut Editor, document: &str) -> Result<String, EditError> {
    let mut out = Vec::new();
    let pushed = editor.push(document.as_bytes(), &mut out);
    pushed.and(editor.finish(&mut out)).map(|_| String::from_utf8(out).unwrap())
}

fn check_too_complex(items: &[String], document: &str) {
    let mut editor = frugal(items);
    for _ in 0..2 {
        assert_eq!(edit(&mut editor, document), Err(EditError::TooComplex));
        // The editor has not kept anything that is wrong.
        let other = "{\"other\": [1], \"p\": {\"z\": 0}}";
        assert_eq!(edit(&mut editor, other), edit(&mut frugal(items), other));
    }
}

fn repeat(count: usize, item: impl Fn(usize) -> String) -> impl Iterator<Item = String> {
    (0..count).map(item)
}

#[test]
fn a_million_brackets_are_no_danger() {
    let limits = EditLimits { max_depth: u32::MAX, ..EditLimits::default() };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("{}0{}", open.repeat(1_000_000), close.repeat(1_000_000));
        let document = format!("{{\"x\":{nested},\"y\":1}}");
        let too_deep = edit(&mut program(&["/y++".into()]).editor(EditLimits::default()), &document);
        assert_eq!(too_deep, Err(EditError::TooDeep { limit: 100_000 }));
        for (item, expected) in [
            ("/y++", format!("{{\"x\":{nested},\"y\":2}}")),
            ("/x=1", "{\"x\":1,\"y\":1}".into()),
            ("rm:/x", "{\"y\":1}".into()),
            // All of them are looked into.
            ("/.../y=2", format!("{{\"x\":{nested},\"y\":2}}")),
            ("/x/a/a/a=1", r#"{"x":{"a":{"a":{"a":1}}},"y":1}"#.into()),
        ] {
            let mut editor = program(&[item.to_owned()]).editor(limits);
            let result = edit(&mut editor, &document);
            assert!(result.as_ref() == Ok(&expected), "{item}: {:?}", result.map(|result| result.len()));
        }
        let cut = edit(
            &mut program(&["/.../y=2".into()]).editor(limits),
            &document[..3_000_000.min(document.len() / 2)],
        );
        assert!(matches!(cut, Err(EditError::Invalid(_))), "{cut:?}");
    }
}

#[test]
fn long_strings_take_no_memory() {
    const MIB: usize = 1 << 20;
    let chunk = format!("{}\\\"}}]", "x".repeat(1020)).repeat(1024);
    let mut largest = 0;
    // A value that stays, one that goes, a name that stays, one that is longer than all known ones.
    for (head, item, tail, size, length) in [
        ("{\"a\":\"", "/b=1", "\"}", 100, 100 * MIB + 14),
        ("{\"a\":\"", "/a=1", "\"}", 100, 7),
        ("{\"", "/b=1", "\":0}", 10, 10 * MIB + 12),
        ("{\"", "rm:/*", "\":0}", 10, 2),
    ] {
        let mut editor = program(&[item.to_owned()]).editor(EditLimits::default());
        let mut out = Vec::new();
        let mut written = 0;
        editor.push(head.as_bytes(), &mut out).unwrap();
        for _ in 0..size {
            editor.push(chunk.as_bytes(), &mut out).unwrap();
            written += out.len();
            largest = largest.max(out.capacity());
            out.clear();
        }
        editor.push(tail.as_bytes(), &mut out).unwrap();
        let summary = editor.finish(&mut out).unwrap();
        assert_eq!((written + out.len(), summary.bytes_written), (length, length as u64), "{item}");
    }
    assert!(largest <= 4 * MIB, "{largest}");
}

#[test]
fn a_hundred_thousand_mutations_take_one_pass() {
    let count = 100_000;
    let items: Vec<String> = repeat(count, |n| format!("/k{n:06}=1")).collect();
    let members = |value: &str| {
        let list: Vec<String> = repeat(count, |n| format!("\"k{n:06}\":{value}")).collect();
        format!("{{{}}}", list.join(","))
    };
    let mut editor = program(&items).editor(EditLimits::default());
    for document in ["{}", &members("null"), &members("[1, {}]")] {
        assert!(edit(&mut editor, document) == Ok(members("1")));
    }
    let items: Vec<String> = repeat(count, |_| "/n++".into()).collect();
    assert_eq!(
        edit(&mut program(&items).editor(EditLimits::default()), "{\"n\":1}").unwrap(),
        "{\"n\":100001}"
    );
    let items: Vec<String> =
        repeat(count, |n| if n % 2 == 0 { "/a/b=1".into() } else { "rm:/a".into() }).collect();
    assert_eq!(edit(&mut program(&items).editor(EditLimits::default()), "{\"a\":7}").unwrap(), "{}");
}

#[test]
fn what_grows_with_the_square_of_the_list_is_refused() {
    let names = |count| repeat(count, |n| format!("/k{n}=1"));
    let twice = |count, wild: &'static str| -> Vec<String> {
        names(count).chain(repeat(count, move |_| wild.into())).collect()
    };
    check_too_complex(&twice(5_000, "/*++"), "{}");
    check_too_complex(&twice(5_000, "/.../x=1"), "{}");
    // Every member has its own state, with all the increments.
    let document: Vec<String> = repeat(5_000, |n| format!("\"k{n}\":{n}")).collect();
    let document = format!("{{{}}}", document.join(","));
    let wild: Vec<String> = repeat(5_000, |_| "/*++".into()).chain(names(5_000)).collect();
    check_too_complex(&wild, &document);
    // One member is too much already.
    let items: Vec<String> = names(1).chain(repeat(200_000, |_| "/*++".into())).collect();
    check_too_complex(&items, "{}");
    // Every number takes all increments.
    let list = format!("{{\"l\":[{}0]}}", "1,".repeat(10_000));
    check_too_complex(&repeat(1_000, |_| "/l[]++".into()).collect::<Vec<_>>(), &list);
}

#[test]
fn what_grows_with_depth_times_list_is_refused() {
    // Level upon level, the paths of all are possible.
    let items: Vec<String> = repeat(300, |n| format!("{}/x{n}=1", "/.../a".repeat(300))).collect();
    let deep = format!("{}1{}", "{\"a\":".repeat(2_000), "}".repeat(2_000));
    check_too_complex(&items, &deep);
    // An object comes again and again, with many names to look for at its end.
    let items: Vec<String> = repeat(2_000, |n| format!("rm:/p/k{n}")).chain(["/p/z=1".into()]).collect();
    let again = format!("{{{}\"q\":0}}", "\"p\":{},".repeat(2_000));
    check_too_complex(&items, &again);
}
