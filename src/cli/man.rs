//! `regatta man`: the manual, a page for the program and for each subcommand.

use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_mangen::Man;

use crate::base::files;
use crate::cli::args::ManArgs;
use crate::cli::parser::command;
use crate::live::terminal::output::print_line;

/// Prints the page of the program or of a subcommand, or writes all of them into a folder.
///
/// # Errors
/// A folder that cannot be written.
pub fn man(args: &ManArgs) -> anyhow::Result<()> {
    let pages = pages()?;
    if let Some(folder) = &args.out {
        return write(&pages, folder);
    }
    let wanted = page_name(args.subcommand.as_deref());
    let page = pages.iter().find(|page| page.name == wanted);
    let page = page.with_context(|| format!("there is no page {wanted}"))?;
    print_line(page.text.trim_end());
    Ok(())
}

/// A page of the manual.
struct ManualPage {
    /// `regatta` or `regatta-run`.
    name: String,
    /// In troff.
    text: String,
}

/// The page's name for a subcommand, or for the program.
fn page_name(subcommand: Option<&str>) -> String {
    match subcommand {
        Some(subcommand) => format!("regatta-{subcommand}"),
        None => "regatta".to_owned(),
    }
}

/// The whole manual: the program's page, and those of subcommands and of theirs.
fn pages() -> anyhow::Result<Vec<ManualPage>> {
    let mut program = command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, "regatta", &mut pages)?;
    Ok(pages)
}

/// Adds the page of a command, and those of its subcommands, to which it refers.
fn add(command: &Command, name: &str, pages: &mut Vec<ManualPage>) -> anyhow::Result<()> {
    let mut text = Vec::new();
    let named = command.clone().display_name(name.to_owned());
    let source = concat!("regatta ", env!("CARGO_PKG_VERSION"));
    Man::new(named).source(source).render(&mut text)?;
    pages.push(ManualPage {
        name: name.to_owned(),
        text: String::from_utf8(text)?,
    });
    for subcommand in command.get_subcommands() {
        let its_name = format!("{name}-{}", subcommand.get_name());
        add(subcommand, &its_name, pages)?;
    }
    Ok(())
}

/// Writes each page as `NAME.1`.
fn write(pages: &[ManualPage], folder: &Path) -> anyhow::Result<()> {
    files::make_folder(folder)?;
    for page in pages {
        let path = folder.join(format!("{}.1", page.name));
        files::write_atomically(&path, page.text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_program_and_every_subcommand_have_a_page_with_their_flags() {
        let pages = pages().unwrap();
        let text = |name: &str| &pages.iter().find(|page| page.name == name).unwrap().text;
        assert!(text("regatta-run").contains("num_clients"));
        assert!(text("regatta-ctl-slow").contains("SYNOPSIS"));
        for page in &pages {
            assert!(page.text.contains(".SH NAME"), "{}", page.name);
        }
        for command in command().get_subcommands() {
            text(&page_name(Some(command.get_name())));
        }
    }

    #[test]
    fn no_page_refers_to_one_that_is_not_there() {
        let pages = pages().unwrap();
        let mut referred = 0;
        for page in &pages {
            let lines = page.text.lines().map(|line| line.replace("\\-", "-"));
            for name in lines.filter_map(|line| line.strip_suffix("(1)").map(str::to_owned)) {
                assert!(pages.iter().any(|page| page.name == name), "{name}");
                referred += 1;
            }
        }
        assert_eq!(referred, pages.len() - 1, "all but the program's own");
    }

    #[test]
    fn all_pages_are_written_into_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("share/man/man1");
        let pages = pages().unwrap();
        write(&pages, &folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), pages.len());
        let page = fs::read_to_string(folder.join("regatta.1")).unwrap();
        assert_eq!(page, pages[0].text);
    }
}
