use super::*;

/// The letters of all bytes, a few tokens that merges make, and two that were added.
fn parts(pre: &str) -> TokenizerParts {
    let mut tokens: Vec<String> = ByteLevel::alphabet()
        .into_iter()
        .map(String::from)
        .collect();
    tokens.sort();
    let merges = ["1 2", "12 3", "a b", "\u{120} ab"];
    tokens.extend(merges.map(|merge| merge.replace(' ', "")));
    let mut kinds = vec![TokenKind::Normal; tokens.len()];
    tokens.extend(["<s>", "</s>", "<call>", "abab"].map(String::from));
    kinds.extend([
        TokenKind::Control,
        TokenKind::Control,
        TokenKind::Added,
        TokenKind::Normal,
    ]);
    let id = |token: &str| {
        tokens
            .iter()
            .position(|other| other == token)
            .map(|id| id as u32)
    };
    TokenizerParts {
        path: "a.gguf".into(),
        model: "gpt2".into(),
        pre: Some(pre.into()),
        bos: id("<s>"),
        eos: id("</s>"),
        padding: None,
        merges: merges.map(String::from).to_vec(),
        add_bos: None,
        add_eos: None,
        tokens,
        kinds,
    }
}

fn tokens(parts: &TokenizerParts, text: &str) -> Vec<String> {
    let encoding = tokenizer(parts).unwrap().encode(text, true).unwrap();
    encoding.get_tokens().to_vec()
}

#[test]
fn each_pre_tokenizer_splits_and_merges_in_its_own_way() {
    for (pre, expected) in [
        ("gpt-2", ["123", "4", "ab", "ab", "\u{120}ab"].as_slice()),
        ("smollm", &["1", "2", "3", "4", "ab", "ab", "\u{120}ab"]),
        ("llama-bpe", &["<s>", "123", "4", "abab", "\u{120}ab"]),
        ("qwen2", &["1", "2", "3", "4", "ab", "ab", "\u{120}ab"]),
    ] {
        assert_eq!(tokens(&parts(pre), "1234abab ab"), expected, "{pre}");
    }
    let composed = "\u{c3}\u{a9}".chars().map(String::from).collect::<Vec<_>>();
    assert_eq!(tokens(&parts("qwen2"), "e\u{301}").len(), composed.len());
    assert_eq!(tokens(&parts("gpt-2"), "e\u{301}").len(), 3);
}

#[test]
fn added_tokens_are_found_whole_and_special_ones_can_be_left_out() {
    let tokenizer = tokenizer(&parts("smollm")).unwrap();
    let encoding = tokenizer.encode("ab<call> é</s>", true).unwrap();
    let found = encoding.get_tokens();
    assert_eq!(found[..2], ["ab", "<call>"]);
    assert_eq!(found.last().unwrap(), "</s>");
    let text = tokenizer.decode(encoding.get_ids(), true).unwrap();
    assert_eq!(text, "ab<call> é");
    let text = tokenizer.decode(encoding.get_ids(), false).unwrap();
    assert_eq!(text, "ab<call> é</s>");
}

#[test]
fn tokens_around_a_text_are_as_the_file_says() {
    let mut parts = parts("llama-bpe");
    parts.add_bos = Some(false);
    assert_eq!(tokens(&parts, "ab"), ["ab"]);
    parts.add_eos = Some(true);
    assert_eq!(tokens(&parts, "ab"), ["ab", "</s>"]);
    parts.add_bos = Some(true);
    assert_eq!(tokens(&parts, "ab"), ["<s>", "ab", "</s>"]);
    parts.bos = None;
    assert_eq!(tokens(&parts, "ab"), ["ab", "</s>"]);
}

type Change = fn(&mut TokenizerParts);

#[test]
fn what_is_not_supported_is_refused_by_key() {
    let changes: [(Change, &str); 6] = [
        (
            |parts| parts.model = "llama".into(),
            "`llama` is not supported; supported is gpt2",
        ),
        (
            |parts| parts.pre = Some("tekken".into()),
            "`tekken` is not supported; supported are",
        ),
        (|parts| parts.pre = None, "`default` is not supported"),
        (
            |parts| parts.tokens[7] = parts.tokens[3].clone(),
            "tokens 3 and 7 are both",
        ),
        (
            |parts| parts.merges.push("ab".into()),
            "merge 4, \"ab\", has no space",
        ),
        (
            |parts| parts.merges.push("abab abab".into()),
            "needs \"abababab\", which is no",
        ),
    ];
    for (change, expected) in changes {
        let mut parts = parts("smollm");
        change(&mut parts);
        let error = tokenizer(&parts).unwrap_err().to_string();
        assert!(error.starts_with("a.gguf: key `tokenizer.ggml."), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_files_of_a_tokenizer_give_the_same_tokens_and_the_special_ones_and_the_template() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/gguf/llama.gguf"
    );
    let file = GgufFile::open(path.as_ref()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files(&file).unwrap() {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let own = ModelTokenizer::of_gguf(&file).unwrap().tokenizer;
    let read = ModelTokenizer::read(&folder.path().join("tokenizer.json"), None, true).unwrap();
    assert_eq!(read.max_length, Some(16));
    for text in ["abab ba", "<|end|>ab", ""] {
        let ids = |tokenizer: &Tokenizer| tokenizer.encode(text, true).unwrap().get_ids().to_vec();
        assert_eq!(ids(&own), ids(&read.tokenizer), "{text}");
    }
    let config = std::fs::read(folder.path().join("tokenizer_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["eos_token"], "<|end|>");
    assert_eq!(config["chat_template"], "{{ messages }}");
    assert!(config.get("bos_token").is_none());
}
