use serde_json::json;

use super::*;

fn read(value: &Value, may_lack_answer: bool) -> Result<(Conversation, Option<String>), String> {
    let place = SourceSpan {
        path: "data.jsonl".into(),
        line: 7,
    };
    let record = Record {
        fields: value.as_object().unwrap(),
        place: &place,
        may_lack_answer,
    };
    record.conversation().map_err(|error| error.to_string())
}

fn asked(question: &str, input: Option<&str>, answer: &str) -> (Conversation, Option<String>) {
    let conversation = Conversation {
        input: input.map(str::to_owned),
        ..Conversation::of_question(question)
    };
    (conversation, Some(answer.to_owned()))
}

#[test]
fn instructions_are_read_by_the_names_that_known_sets_have_for_them() {
    for (value, expected) in [
        (
            json!({"instruction": "Add.", "input": "1 2", "output": "3", "category": "sums"}),
            asked("Add.", Some("1 2"), "3"),
        ),
        (
            json!({"instruction": "Add.", "input": "", "output": "3"}),
            asked("Add.", None, "3"),
        ),
        (
            json!({"instruction": "Add.", "context": "1 2", "response": "3"}),
            asked("Add.", Some("1 2"), "3"),
        ),
        (
            json!({"question": "1 + 2?", "answer": "3"}),
            asked("1 + 2?", None, "3"),
        ),
        (
            json!({"query": "1 + 2?", "response": "3", "type": "sums"}),
            asked("1 + 2?", None, "3"),
        ),
        (
            json!({"prompt": "1 + 2?", "completion": "3"}),
            asked("1 + 2?", None, "3"),
        ),
        (
            json!({"input": "1 + 2?", "output": "3"}),
            asked("1 + 2?", None, "3"),
        ),
        (
            json!({"messages": null, "instruction": null, "question": "1 + 2?", "input": null,
                "output": null, "answer": "3"}),
            asked("1 + 2?", None, "3"),
        ),
    ] {
        assert_eq!(read(&value, false), Ok(expected));
    }
}

#[test]
fn messages_are_read_in_turns_up_to_the_last_answer() {
    let openai = json!({"messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "1 + 2?"}, {"role": "assistant", "content": "3"}]});
    let share_gpt = json!({"conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
        {"from": "human", "value": "1 + 2?"}, {"from": "gpt", "value": "3"}]});
    for value in [openai, share_gpt] {
        let (conversation, answer) = read(&value, false).unwrap();
        assert_eq!(conversation.system.as_deref(), Some("Be brief."));
        assert_eq!(
            conversation.turns,
            [Turn("Hi".to_owned(), "Hello".to_owned())]
        );
        assert_eq!(
            (&*conversation.question, answer.as_deref()),
            ("1 + 2?", Some("3"))
        );
    }
}

#[test]
fn a_test_split_may_lack_answers() {
    let unanswered = json!({"messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(
        read(&unanswered, true),
        Ok((Conversation::of_question("Hi"), None))
    );
    let error = read(&unanswered, false).unwrap_err();
    assert!(error.contains("no answer to learn"), "{error}");
    let instruction = json!({"question": "Hi"});
    assert_eq!(
        read(&instruction, true),
        Ok((Conversation::of_question("Hi"), None))
    );
}

#[test]
fn what_is_broken_is_refused_with_its_place() {
    let said = |messages: Value| json!({"messages": messages});
    let (user, answer) = (
        json!({"role": "user", "content": "Hi"}),
        json!({"role": "assistant", "content": "Hello"}),
    );
    for (value, reason) in [
        (
            json!({"output": "3"}),
            "no key `instruction`; it has output",
        ),
        (
            json!({"instruction": "Add."}),
            "no key `output`; it has instruction",
        ),
        (
            json!({"instruction": "Add.", "output": null}),
            "no key `output`; it has instruction",
        ),
        (json!({}), "no key `instruction`; it has none"),
        (
            json!({"instruction": "Add.", "output": " "}),
            "`output` is empty",
        ),
        (
            json!({"question": "", "answer": "3"}),
            "`question` is empty",
        ),
        (
            json!({"instruction": "Add.", "output": 3}),
            "`output` is 3, expected text",
        ),
        (json!({"instruction": "a\u{fdd0}", "output": "3"}), "U+FDD0"),
        (said(json!("Hi")), "`messages` is not a list"),
        (said(json!([])), "has no message of the user's"),
        (
            said(json!([user, user])),
            "message 2 is the user's, expected the assistant's",
        ),
        (
            said(json!([answer])),
            "message 1 is the assistant's, expected the user's",
        ),
        (
            said(json!([user, answer, answer])),
            "message 3 is the assistant's",
        ),
        (
            said(json!([user, answer, {"role": "system", "content": "x"}])),
            "message 3 is the system's, expected only the first",
        ),
        (
            said(json!([{"role": "tool", "content": "x"}])),
            "the role `tool`",
        ),
        (
            said(json!([{"role": "user"}])),
            "message 1 has no `content` or `value`",
        ),
        (
            said(json!([{"content": "x"}])),
            "message 1 has no `role` or `from`",
        ),
        (
            said(json!([user, {"role": "assistant", "content": ""}])),
            "message 2: `content` is empty",
        ),
        (
            said(json!([{"role": "user", "content": ["x"]}])),
            "message 1: `content` is [\"x\"], expected text",
        ),
        (said(json!(["x"])), "message 1 is not an object"),
    ] {
        let error = read(&value, false).unwrap_err();
        assert!(
            error.starts_with("data.jsonl:7: ") && error.contains(reason),
            "{error}"
        );
    }
}
