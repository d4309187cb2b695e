use super::*;

fn check(cases: &[(&str, &str)]) {
    for (text, tokens) in cases {
        assert_eq!(ptb_tokens(text).join(" "), *tokens, "{text}");
    }
}

#[test]
fn punctuation_is_removed_and_brackets_are_named() {
    check(&[
        ("Cheap, \"nice\" -- really!", "cheap nice really"),
        (
            "A 'pub' (old) [new].",
            "a pub -lrb- old -rrb- -lsb- new -rsb-",
        ),
        ("wait... what?!", "wait what ?!"),
        ("...", ""),
    ]);
}

#[test]
fn contractions_are_parted() {
    check(&[
        ("It isn't, it's", "it is n't it 's"),
        ("They'd've don’t I'M", "they 'd 've do n't i 'm"),
        ("cannot 'tis gonna", "can not 't is gon na"),
        ("owners' dogs'", "owners dogs"),
        (
            "o'clock hors d'oeuvres y'all ma'am",
            "o'clock hors d'oeuvres y' all ma'am",
        ),
        (
            "fish'n'chips since '99 and the '90s",
            "fish 'n' chips since '99 and the '90s",
        ),
    ]);
}

#[test]
fn compounds_stay_whole() {
    check(&[
        (
            "family-friendly, 20-25 and 5-star.",
            "family-friendly 20-25 and 5-star",
        ),
        ("low- cost -priced a--b", "low cost priced a b"),
        ("cheap,low-priced and/or 3/5", "cheap,low-priced and/or 3/5"),
        ("5of5 20pounds", "5of5 20pounds"),
    ]);
}

#[test]
fn prices_have_their_sign_before_or_after() {
    check(&[
        ("£20-£25", "# 20 # 25"),
        ("£20.50,", "# 20.50"),
        ("20£-25", "20 # -25"),
        ("$5 or US$5, €5, 5%", "$ 5 or us$ 5 $ 5 5 %"),
        ("1,200.50 at 10.30am", "1,200.50 at 10.30 am"),
    ]);
}

#[test]
fn abbreviations_keep_their_full_stop() {
    check(&[
        (
            "St. John, Main Rd. etc. The end.",
            "st. john main rd. etc. the end",
        ),
        (
            "no. 5, say no. Wash. or wash.",
            "no. 5 say no wash. or wash",
        ),
        ("the U.K. and J. Smith", "the u.k. and j. smith"),
        // What begins the next sentence shows that the letter was no initial.
        ("Plan B. The pub", "plan b the pub"),
        // Before a comma any word keeps it.
        ("in the centre., near", "in the centre. near"),
    ]);
}

#[test]
fn symbols_and_addresses_are_tokens() {
    check(&[
        ("½ price, 20°C & more", "1/2 price 20 ° c & more"),
        ("Fish &amp; chips <b> AT&T", "fish & chips <b> at&t"),
        (
            "www.example.com a@b.com #pub :-)",
            "www.example.com a@b.com #pub :--rrb-",
        ),
        ("Café É 😀 naïve", "café é naïve"),
        ("5 1/2 stars", "5\u{A0}1/2 stars"),
    ]);
}

#[test]
fn any_piece_of_a_text_has_tokens() {
    let text = "'t n't's cann't o'A ma'am 5-1/2 '90s <a b> </ &#3; A&B. US$ :-( a.b.c., x@y http://. £-.5 —…é́";
    let characters: Vec<char> = text.chars().collect();
    for start in 0..characters.len() {
        for end in start..=characters.len() {
            let piece: String = characters[start..end].iter().collect();
            let tokens = ptb_tokens(&piece);
            assert!(tokens.iter().all(|token| !token.is_empty()), "{piece}");
        }
    }
    assert_eq!(coco_tokens("."), [""]);
}
