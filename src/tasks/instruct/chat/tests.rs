use super::*;
use crate::data::limits::TokenizerLimits;
use crate::data::schema::SplitName;
use crate::tasks::instruct::conversation::Turn;

/// Words of one token each, the special tokens of ChatML, and a start token that is put before texts.
fn encoder(max_length: usize) -> TextEncoder {
    let words = [
        "?",
        "user",
        "assistant",
        "system",
        "hi",
        "ho",
        "bye",
        "<",
        "|",
        "im_end",
        ">",
    ];
    let vocabulary = words
        .iter()
        .zip(0..)
        .map(|(word, id)| format!("{word:?}: {id}"));
    let vocabulary: Vec<String> = vocabulary.collect();
    let special = |id: u32, content: &str| {
        format!(
            r#"{{"id": {id}, "content": "{content}", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true}}"#
        )
    };
    let added = [
        special(11, "</s>"),
        special(12, "<|im_start|>"),
        special(13, "<|im_end|>"),
        special(14, "<s>"),
    ];
    let json = format!(
        r#"{{"version": "1.0", "added_tokens": [{}], "pre_tokenizer": {{"type": "Whitespace"}},
            "post_processor": {{"type": "TemplateProcessing",
                "single": [{{"SpecialToken": {{"id": "<s>", "type_id": 0}}}},
                    {{"Sequence": {{"id": "A", "type_id": 0}}}}],
                "pair": [{{"Sequence": {{"id": "A", "type_id": 0}}}},
                    {{"Sequence": {{"id": "B", "type_id": 1}}}}],
                "special_tokens": {{"<s>": {{"id": "<s>", "ids": [14], "tokens": ["<s>"]}}}}}},
            "model": {{"type": "WordLevel", "unk_token": "?", "vocab": {{{}}}}}}}"#,
        added.join(", "),
        vocabulary.join(", ")
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    std::fs::write(&file, json).unwrap();
    let limits = TokenizerLimits {
        model: "tiny".to_owned(),
        vocabulary: 15,
        token_types: None,
        positions: 64,
        pad_id: 0,
        end_tokens: vec![11],
        is_decoder: true,
        tokenizer_class: None,
    };
    TextEncoder::new(&file, &limits, max_length).unwrap()
}

fn two_turns() -> Conversation {
    Conversation {
        turns: vec![Turn("hi".to_owned(), "ho".to_owned())],
        ..Conversation::of_question("bye")
    }
}

fn split(conversations: &[Conversation]) -> Split {
    let mut split = Split::new(true, SplitName::Train);
    for (id, conversation) in (0..).zip(conversations) {
        split.push(Example {
            id,
            text_a: &conversation.to_text(),
            text_b: Some("ho"),
            label: None,
        });
    }
    split
}

#[test]
fn both_answers_count_and_a_prompt_has_the_tokens_that_it_has_in_training() {
    let (encoder, chat) = (encoder(64), Chat(TemplateChoice::CHATML));
    let encoded = chat.encode(&split(&[two_turns()]), &encoder, None).unwrap();
    let ids = encoded.ids(0);
    let expected = [14, 12, 1, 4, 13, 12, 2, 5, 13, 12, 1, 6, 13, 12, 2, 5, 13];
    assert_eq!(ids, expected, "the start token, then ChatML");
    let answers: Vec<usize> = encoded.answer(0).collect();
    assert_eq!(answers, [7, 8, 15, 16], "each answer with its end token");
    let prompts = chat
        .encode_prompts(&[&two_turns().to_text()], &encoder)
        .unwrap();
    assert_eq!(prompts[0], ids[..15]);
}

#[test]
fn a_text_ends_at_the_models_token_and_at_the_templates() {
    let encoder = encoder(64);
    let ends = |choice| Chat(choice).end_tokens(&encoder).unwrap();
    assert_eq!(ends(TemplateChoice::CHATML), [11, 13]);
    assert_eq!(ends(TemplateChoice::ALPACA), [11]);
}

#[test]
fn a_user_who_spells_a_special_token_ends_no_turn() {
    let (encoder, chat) = (encoder(64), Chat(TemplateChoice::CHATML));
    let spelled = Conversation::of_question("hi <|im_end|>");
    let encoded = chat.encode(&split(&[spelled]), &encoder, None).unwrap();
    let ends = encoded.ids(0).iter().filter(|id| **id == 13).count();
    assert_eq!(ends, 2, "{:?}", encoded.ids(0));
}

#[test]
fn answers_that_are_cut_away_count_no_more() {
    let chat = Chat(TemplateChoice::CHATML);
    let examples = split(&[two_turns(), Conversation::of_question("hi")]);
    for (length, targets, without) in [
        (64, [4, 2], 0),
        (12, [2, 2], 0),
        (8, [1, 1], 0),
        (7, [0, 0], 2),
    ] {
        let encoded = chat.encode(&examples, &encoder(length), None).unwrap();
        let found = [0, 1].map(|at| encoded.num_targets(at));
        assert_eq!(
            (found, encoded.without_targets()),
            (targets, without),
            "{length}"
        );
    }
}

#[test]
fn tokens_come_back_from_the_cache_with_the_ranges_that_count() {
    let (encoder, folder) = (encoder(64), tempfile::tempdir().unwrap());
    let examples = split(&[two_turns()]);
    let encode = |choice| {
        Chat(choice)
            .encode(&examples, &encoder, Some(folder.path()))
            .unwrap()
    };
    let tokens = |choice| {
        let encoded = encode(choice);
        (encoded.ids(0).to_vec(), encoded.type_ids(0).to_vec())
    };
    let fresh = tokens(TemplateChoice::CHATML);
    assert_eq!(tokens(TemplateChoice::CHATML), fresh);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_ne!(
        tokens("vicuna".parse().unwrap()),
        fresh,
        "another template, another file"
    );
}
