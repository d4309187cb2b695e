//! Which part of the code may import which: never a higher room, never in a circle. And no type has
//! the name of another in its crate.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src`, from the bottom up. One may import from those of the lines above it.
const REGATTA: &[&[&str]] = &[
    &["base"],
    &["model"],
    &["data"],
    &["adapter", "tasks"],
    &["train", "aggregate"],
    &["config"],
    &["runs"],
    &["experiment", "live"],
    &["cli"],
];

/// The rooms of `actors/src`, likewise.
const ACTORS: &[&[&str]] = &[
    &["ids", "clock", "panics"],
    &["random"],
    &["plan"],
    &["workload"],
    &["protocol"],
    &["scheduler", "observe", "journal"],
    &["lanes"],
    &["runtime"],
];

/// The rooms of `cluster/src`, likewise.
const CLUSTER: &[&[&str]] = &[
    &["names", "version", "config"],
    &["errors"],
    &["connection"],
    &["jetstream"],
    &["queue"],
    &["replies", "claim", "blobs"],
    &["notes"],
    &["nats", "supervisor"],
];

/// A module, as the names on the way to it: `["plan", "fault", "injection"]`.
type Module = Vec<String>;

/// The imports of a crate: from each file to those that it names, in `use` lines or in paths.
struct Crate {
    /// The file of each module.
    files: BTreeMap<Module, PathBuf>,
    imports: BTreeMap<Module, BTreeSet<Module>>,
    /// The files of each type, by its name.
    types: BTreeMap<String, BTreeSet<PathBuf>>,
}

impl Crate {
    fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        walk(root, &mut |path| {
            let inside = path.strip_prefix(root).unwrap().with_extension("");
            let mut module: Module = inside
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            let is_test = module.iter().any(|part| part == "tests");
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            if !is_test && module != ["lib"] && module != ["main"] {
                files.insert(module, path.to_owned());
            }
        });
        let (mut imports, mut types) = (BTreeMap::new(), BTreeMap::new());
        for (module, path) in &files {
            let code = code(&fs::read_to_string(path).unwrap());
            for name in code.lines().filter_map(declared) {
                let places: &mut BTreeSet<_> = types.entry(name.to_owned()).or_default();
                places.insert(path.clone());
            }
            let named = paths(&code).into_iter();
            let named = named.filter_map(|path| absolute(&path, module));
            let targets = named.filter_map(|path| file_of(&path, &files));
            let targets = targets.filter(|target| target != module).collect();
            imports.insert(module.clone(), targets);
        }
        Self {
            files,
            imports,
            types,
        }
    }

    /// Each import from a room to one that is not below it.
    fn upward(&self, rooms: &[&[&str]]) -> Vec<String> {
        let floor = |module: &Module| rooms.iter().position(|floor| floor.contains(&&*module[0]));
        let mut wrong = Vec::new();
        for (from, targets) in &self.imports {
            let Some(own) = floor(from) else {
                wrong.push(format!("{} is in no room", self.files[from].display()));
                continue;
            };
            let above = targets.iter().filter(|to| to[0] != from[0]);
            let above = above.filter(|to| floor(to).is_none_or(|other| other >= own));
            wrong.extend(above.map(|to| {
                let (from, to) = (self.files[from].display(), self.files[to].display());
                format!("{from} imports {to}")
            }));
        }
        wrong
    }

    /// Types whose name another has.
    fn namesakes(&self) -> Vec<String> {
        let several = self.types.iter().filter(|(_, places)| places.len() > 1);
        let listed = several.map(|(name, places)| format!("{name} is declared in {places:?}"));
        listed.collect()
    }

    /// Circles among what lies side by side in a folder: files, and folders as a whole.
    fn circles(&self) -> Vec<String> {
        let mut folders: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (from, targets) in &self.imports {
            for to in targets {
                let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
                let side = |module: &Module| module.get(common).cloned().unwrap_or("mod".into());
                let (a, b) = (side(from), side(to));
                let folder = folders.entry(from[..common].to_vec()).or_default();
                folder.entry(a).or_default().insert(b);
            }
        }
        let in_folder = |(folder, graph): (&Module, &BTreeMap<_, _>)| {
            let circle: Option<Vec<String>> = circle(graph);
            circle.map(|circle| format!("in {}/: {}", folder.join("/"), circle.join(" → ")))
        };
        folders.iter().filter_map(in_folder).collect()
    }
}

/// The type that a line at the outermost level declares.
fn declared(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let kinds = ["struct ", "enum ", "trait ", "type "];
    let mut rests = kinds.iter().filter_map(|kind| line.strip_prefix(kind));
    rests.next()?.split(|c: char| !c.is_alphanumeric()).next()
}

fn walk(folder: &Path, found: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found(&path);
        }
    }
}

/// A file without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {");
    let lines = text[..end.unwrap_or(text.len())].lines();
    let lines = lines.map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// All paths that may begin in this crate, with the trees of `use` lines taken apart: from its
/// root, from the module above, or from this one (`use child::Item`).
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (root, prefix) in [
        ("crate::", ""),
        ("super::", ""),
        ("self::", ""),
        ("use ", "self::"),
    ] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            let begins = !before.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c));
            let at = if prefix.is_empty() {
                at
            } else {
                at + root.len()
            };
            let other = ["crate::", "super::", "self::"];
            let is_new =
                prefix.is_empty() || !other.iter().any(|root| code[at..].starts_with(root));
            if begins && is_new {
                tree(&code[at..], prefix, &mut found);
            }
        }
    }
    found
}

/// The paths of a `use` tree that begins here. Returns how much of the text it takes.
fn tree(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let stem: usize = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..stem]);
    if !text[stem..].starts_with('{') {
        found.push(path);
        return stem;
    }
    let mut at = stem + 1;
    while at < text.len() && !text[at..].starts_with('}') {
        let next = text[at..].chars().next().unwrap();
        if next.is_alphanumeric() || next == '_' {
            at += tree(&text[at..], &path, found);
        } else {
            at += next.len_utf8();
        }
    }
    at + 1
}

/// The names of a path from the crate's root.
fn absolute(path: &str, module: &[String]) -> Option<Module> {
    let mut names: Vec<&str> = path.split("::").filter(|name| !name.is_empty()).collect();
    if names.first() == Some(&"crate") {
        names.remove(0);
        return Some(names.into_iter().map(str::to_owned).collect());
    }
    let mut base = module.to_vec();
    if names.first() == Some(&"self") {
        names.remove(0);
    }
    while names.first() == Some(&"super") {
        names.remove(0);
        base.pop()?;
    }
    base.extend(names.into_iter().map(str::to_owned));
    Some(base)
}

/// The file that a path leads to: that of its longest beginning which is a module.
fn file_of(path: &[String], files: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let beginnings = (1..=path.len()).rev().map(|end| path[..end].to_vec());
    beginnings
        .into_iter()
        .find(|module| files.contains_key(module))
}

/// A circle in a graph, if it has one.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    let starts = graph.keys();
    starts.into_iter().find_map(|start| {
        let mut way = Vec::new();
        follow(start, graph, &mut way, &mut done)
    })
}

fn follow(
    at: &str,
    graph: &BTreeMap<String, BTreeSet<String>>,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(begin) = way.iter().position(|name| name == at) {
        let mut circle = way[begin..].to_vec();
        circle.push(at.to_owned());
        return Some(circle);
    }
    if !done.insert(at.to_owned()) {
        return None;
    }
    way.push(at.to_owned());
    let next = graph.get(at).into_iter().flatten();
    let found = next.into_iter().find_map(|to| follow(to, graph, way, done));
    way.pop();
    found
}

fn check(root: &str, rooms: &[&[&str]]) {
    let read = Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root));
    assert!(
        read.imports.values().map(BTreeSet::len).sum::<usize>() > 30,
        "imports are found"
    );
    let wrong = [read.upward(rooms), read.circles(), read.namesakes()].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_program_imports_downwards_and_in_no_circle() {
    check("src", REGATTA);
}

#[test]
fn the_actors_import_downwards_and_in_no_circle() {
    check("actors/src", ACTORS);
}

#[test]
fn the_cluster_s_crate_imports_downwards_and_in_no_circle() {
    check("cluster/src", CLUSTER);
}

#[test]
fn circles_and_paths_of_all_forms_are_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph
                .entry((*from).into())
                .or_default()
                .insert((*to).into());
        }
        graph
    };
    assert_eq!(circle(&graph(&[("a", "b"), ("a", "c"), ("c", "b")])), None);
    let found = circle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")]));
    assert_eq!(found.unwrap(), ["b", "c", "b"]);
    let code = code(
        "use crate::a::{b::C, d::{self, E}};\nuse k::L;\nuse self::q::R;\nsuper::f(); // crate::not\n",
    );
    let mut found = paths(&code);
    found.sort();
    let expected = [
        "crate::a::b::C",
        "crate::a::d::E",
        "crate::a::d::self",
        "self::k::L",
        "self::q::R",
        "super::f",
    ];
    assert_eq!(found, expected);
    let module = ["m".to_owned(), "n".to_owned()];
    assert_eq!(absolute("super::f", &module).unwrap(), ["m", "f"]);
    assert_eq!(
        absolute("self::k::L", &module).unwrap(),
        ["m", "n", "k", "L"]
    );
}
