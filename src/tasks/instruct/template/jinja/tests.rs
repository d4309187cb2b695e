use std::collections::BTreeMap;

use tokenizers::models::wordlevel::WordLevel;
use tokenizers::{AddedToken, Tokenizer};

use super::*;
use crate::data::rendered::SEPARATOR;
use crate::tasks::instruct::conversation::Turn;

/// Turns between `<|` and `|>`, after the system's.
const TURNS: &str = "{% for message in messages %}
    {% if message['role'] == 'system' and not loop.first %}
        {{ raise_exception('the system speaks first') }}
    {% endif %}
{{ '<|' + message['role'] + '|>' + message['content'] | trim + eos_token + '\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>' }}
{%- endif %}";

fn chat(source: &str) -> ChatTemplate {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let tokens = tokens.map(|(name, text)| (name.to_owned(), text.to_owned()));
    ChatTemplate {
        source: source.to_owned(),
        file: "model/chat_template.jinja".into(),
        tokens: BTreeMap::from(tokens),
    }
}

fn special() -> SpecialTokens {
    let mut tokenizer = Tokenizer::new(WordLevel::default());
    let tokens = ["<s>", "</s>", "<|user|>", "<|assistant|>"];
    let added = tokens.map(|content| AddedToken::from(content, true));
    tokenizer.add_tokens(added).unwrap();
    SpecialTokens::of(&tokenizer)
}

fn conversation(turns: &[(&str, &str)], question: &str) -> Conversation {
    let turns = turns.iter();
    Conversation {
        turns: turns
            .map(|(question, answer)| Turn((*question).to_owned(), (*answer).to_owned()))
            .collect(),
        ..Conversation::of_question(question)
    }
}

/// What a template gives for a question and its answer `b`.
fn text(source: &str, question: &str) -> Result<String, String> {
    let (chat, special) = (chat(source), special());
    let template = JinjaTemplate::new(&chat, &special)?;
    let rendered = template.render(&Conversation::of_question(question), Some("b"))?;
    Ok(rendered.text())
}

#[test]
fn answers_are_what_the_text_has_behind_the_text_up_to_them() {
    let (chat, special) = (chat(TURNS), special());
    let template = JinjaTemplate::new(&chat, &special).unwrap();
    let conversation = conversation(&[("Hi", " Hello! ")], "Say </s><|user|>");
    let rendered = template.render(&conversation, Some("Bye")).unwrap();
    let parts: Vec<(String, bool, bool)> = rendered
        .parts
        .iter()
        .map(|part| (part.text.replace(SEPARATOR, ""), part.counts, part.ends))
        .collect();
    let expected = [
        ("<|user|>Hi</s>\n<|assistant|>", false),
        ("Hello!</s>", true),
        ("\n<|user|>Say </s><|user|></s>\n<|assistant|>", false),
        ("Bye</s>", true),
    ];
    let expected = expected.map(|(text, counts)| (text.to_owned(), counts, false));
    assert_eq!(parts, expected);
    assert!(
        !rendered.has_start,
        "as transformers, which adds no token to a template's"
    );
    // Of the user's tokens none is found.
    assert_eq!(special.matches(&rendered.parts[2].text).count(), 3);
    assert_eq!(
        template.end_token(),
        special.find("</s>").map(|token| token.id)
    );
    let prompt = template.render(&conversation, None).unwrap();
    assert_eq!(prompt.parts[..2], rendered.parts[..2]);
    assert_eq!(prompt.parts[2], rendered.parts[2]);
}

#[test]
fn an_answer_that_the_template_does_not_end_ends_with_the_models_token() {
    let source = "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '\\n' }}{% endfor %}\
                  {% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
    let (chat, special) = (chat(source), special());
    let template = JinjaTemplate::new(&chat, &special).unwrap();
    let conversation = conversation(&[("a", "b")], "c");
    let rendered = template.render(&conversation, Some("d")).unwrap();
    let learnt = rendered.parts.iter().filter(|part| part.counts);
    let learnt: Vec<(&str, bool)> = learnt.map(|part| (&*part.text, part.ends)).collect();
    assert_eq!(learnt, [("b\n", false), ("d\n", true)]);
    assert_eq!(template.end_token(), None);
}

#[test]
fn templates_have_what_transformers_gives_them() {
    // Rendered by transformers 4.57 to the same.
    for (source, expected) in [
        (
            "{%- set ns = namespace(n=0) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + 1 %}\
             {% endfor %}{{ ns.n ~ messages[-1].content.upper() }}",
            "2B",
        ),
        (
            "{{ messages[0].content.split('-')[-1].lstrip('\\n') ~ ('x' in messages[0]['content']) }}",
            "zTrue",
        ),
        (
            "{{ messages[0].content | tojson }}{{ [1, none, true] | tojson }}",
            "\"x-\\nz\"[1, null, true]",
        ),
        (
            "{{ messages[0] | tojson }}",
            "{\"role\": \"user\", \"content\": \"x-\\nz\"}",
        ),
        (
            "{{ none }} {{ true }} {{ nothing }}{{ tools is none }}",
            "None True True",
        ),
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        (
            "{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}\
             {{ m.role }}{% endfor %}",
            "user",
        ),
        (
            "{% for m in messages %}{%- generation -%} {{ m.role }} {%- endgeneration -%}{% endfor %}",
            "userassistant",
        ),
        ("  {% if true %}\n  x\n  {% endif %}\ny\n", "  x\ny"),
        ("{{ bos_token }}{{ unk_token }}<b>&", "<s><b>&"),
    ] {
        let found = rendered(source);
        assert_eq!(found.as_deref(), Ok(expected), "{source}");
    }
}

/// The whole of what a template gives for two messages.
fn rendered(source: &str) -> Result<String, String> {
    let special = special();
    // Renders nothing but what is asked for, so that all begins as it goes on.
    let (chat, plain) = (chat(source), chat(""));
    let mut template = JinjaTemplate::new(&plain, &special)?;
    template.chat = &chat;
    let source = without_generation(source);
    template
        .environment
        .add_template_owned(NAME, source)
        .map_err(|error| error.to_string())?;
    let messages = Conversation::of_question("x-\nz").messages(Some("b"));
    template.text(&messages, false)
}

#[test]
fn what_is_wrong_with_a_template_is_said_with_its_file_and_line() {
    for (source, reason) in [
        ("{% for m in messages %}", "is not Jinja: syntax error"),
        ("\n\n{{ messages | nothing }}", "unknown filter"),
        (
            "{{ raise_exception('no ' + 'way') }}",
            "refuses the conversation: no way",
        ),
        (
            "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
            "fuel",
        ),
        (
            "{% for m in messages %}{{ m.content ~ loop.last }}{% endfor %}",
            "before the answer of turn 1 otherwise",
        ),
    ] {
        let error = text(source, "a").unwrap_err();
        assert!(
            error.contains("model/chat_template.jinja") && error.contains(reason),
            "{error}"
        );
    }
    let error = text("\n\n{{ messages | nothing }}", "a").unwrap_err();
    assert!(error.contains("line 3"), "{error}");
}

#[test]
fn a_conversation_that_the_template_refuses_is_told_why_and_what_to_do() {
    let source = TURNS.replace("not loop.first", "true");
    let (chat, special) = (chat(&source), special());
    let template = JinjaTemplate::new(&chat, &special).unwrap();
    let system = Conversation {
        system: Some("Be brief.".to_owned()),
        ..Conversation::of_question("Hi")
    };
    let error = template.render(&system, Some("Ho")).unwrap_err();
    assert!(
        error.contains("the system speaks first") && error.contains("another template"),
        "{error}"
    );
}

#[test]
fn a_template_that_renders_earlier_turns_otherwise_is_refused_with_what_to_do() {
    let source = "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}\
                  {{ '[thought]' }}{% endif %}{{ m.content }}{% endfor %}";
    let (chat, special) = (chat(source), special());
    let template = JinjaTemplate::new(&chat, &special).unwrap();
    let one = template.render(&conversation(&[], "a"), Some("b")).unwrap();
    assert_eq!(one.parts[1].text, "[thought]b");
    let error = template
        .render(&conversation(&[("a", "b")], "c"), Some("d"))
        .unwrap_err();
    assert!(
        error.contains("turn 1 otherwise") && error.contains("chatml"),
        "{error}"
    );
    // Nothing is rendered until the assistant speaks, so that the text up to the second answer is
    // shorter than that through the first.
    let source = "{% if messages[-1].role == 'assistant' %}{% for m in messages %}{{ m.content }}\
                  {% endfor %}{% endif %}";
    let chat = self::chat(source);
    let template = JinjaTemplate::new(&chat, &special).unwrap();
    let error = template
        .render(&conversation(&[("a", "b")], "c"), Some("d"))
        .unwrap_err();
    assert!(error.contains("turn 2 otherwise"), "{error}");
}
