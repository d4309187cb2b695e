//! Bad input to the task instruct: each an error with its place, before anything is trained.

use serde_json::json;

use crate::instruct::{RUN, chat, place};

#[test]
fn bad_input_is_refused_with_its_place_before_anything_is_trained() {
    let place = place();
    let refused = |lines: &str, more: &str| {
        place.write("bad.jsonl", lines);
        let errors = place.errors(&format!(
            "{} {more}",
            RUN.replace("chats.jsonl", "bad.jsonl")
                .replace("clients 2", "clients 1")
        ));
        errors.concat()
    };
    let (good, chats) = (json!({"question": "a", "answer": "b"}).to_string(), chat(1));
    let system = json!({"messages": [{"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    for (lines, more, reason) in [
        (
            format!("{good}\n"),
            "--template zephyr",
            "there is no template `zephyr`",
        ),
        (
            format!("{good}\n{{\"question\": \"a\"}}\n"),
            "",
            "bad.jsonl:2: no key `output`",
        ),
        (
            format!("{good}\n\n{{\"question\": \"a\""),
            "",
            "bad.jsonl:3: the line ends within",
        ),
        (
            format!("{good}\n{}", good.replace("\"a\"", "\" \"")),
            "",
            "bad.jsonl:2: `question` is empty",
        ),
        (format!("{good}\n{good}\n"), "", "none to hold out"),
        (
            format!("{good}\n{chats}\n"),
            "--template alpaca",
            "bad.jsonl:2: the template `alpaca`",
        ),
        (
            format!("{chats}\n{system}\n"),
            "--template gemma",
            "bad.jsonl:2: the template `gemma`",
        ),
        (
            format!("{good}\n{chats}\n"),
            "--template model",
            "give one of alpaca",
        ),
        (
            format!("{chats}\n{}\n", chat(2)),
            "--template chatml --max_seq_length 20",
            "cuts the whole answer of every example",
        ),
        (
            ["a", "b"]
                .map(|it| json!({"question": it.repeat(2000), "answer": "b"}).to_string())
                .join("\n"),
            "--max_seq_length 1024",
            "the model takes no more; shorten the prompts",
        ),
        (String::new(), "", "no examples"),
    ] {
        let errors = refused(&lines, more);
        assert!(errors.contains(reason), "{more}: {errors}");
    }
    let jinja = |text: &str| {
        place.write("chat_template.jinja", text);
        refused(&format!("{chats}\n{system}\n"), "--template model")
    };
    let errors = jinja("{% for m in messages %}");
    assert!(
        errors.contains("chat_template.jinja is not Jinja"),
        "{errors}"
    );
    let errors = jinja(
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}\
         {% endif %}{{ m.content }}{% endfor %}",
    );
    assert!(
        errors.contains("bad.jsonl:2: the template `model`") && errors.contains("no system"),
        "{errors}"
    );
    assert!(!place.path().join("runs").exists(), "nothing was trained");
}
