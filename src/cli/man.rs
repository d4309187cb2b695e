//! `regatta man`: the manual, a page for the program and one for each subcommand.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_mangen::Man;

use super::args::{ManArgs, command};
use crate::cli::terminal::say;

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
    say(page.text.trim_end());
    Ok(())
}

/// A page of the manual.
struct Page {
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

/// The whole manual.
fn pages() -> anyhow::Result<Vec<Page>> {
    let mut program = command().disable_help_subcommand(true);
    program.build();
    let mut pages = vec![page(program.clone(), page_name(None))?];
    for subcommand in program.get_subcommands() {
        let name = page_name(Some(subcommand.get_name()));
        let command = subcommand.clone().version(env!("CARGO_PKG_VERSION"));
        pages.push(page(command, name)?);
    }
    Ok(pages)
}

fn page(command: Command, name: String) -> anyhow::Result<Page> {
    let mut text = Vec::new();
    let command = command.display_name(name.clone());
    Man::new(command).render(&mut text)?;
    let text = String::from_utf8(text)?;
    Ok(Page { name, text })
}

/// Writes each page as `NAME.1`.
fn write(pages: &[Page], folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for page in pages {
        let path = folder.join(format!("{}.1", page.name));
        fs::write(&path, &page.text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_every_subcommand_have_a_page_with_their_flags() {
        let pages = pages().unwrap();
        let text = |name: &str| &pages.iter().find(|page| page.name == name).unwrap().text;
        assert!(text("regatta").contains("regatta\\-run(1)"));
        assert!(text("regatta-run").contains("num_clients"));
        assert!(text("regatta-ctl").contains("status"));
        assert_eq!(pages.len(), command().get_subcommands().count() + 1);
        for page in &pages {
            assert!(page.text.contains(".SH NAME"), "{}", page.name);
        }
    }
}
