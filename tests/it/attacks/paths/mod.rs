//! Paths that a rule reads in one way and an application in another.

mod edges;
mod forms;
mod hosts;
mod names;
mod styles;
mod tables;

use super::trial::{Bench, End, Forwarded, Trial};

/// Every template with every spelling in the place of `D`.
fn spelt(templates: &[&str], spellings: &[&str]) -> Vec<String> {
    let mut targets = Vec::new();
    for template in templates {
        for spelling in spellings {
            targets.push(template.replace('D', spelling));
        }
    }
    targets
}

/// A request by somebody, which must be answered like this.
fn asks(bench: &Bench, method: &str, target: &str, lines: &str, status: u16) -> Trial {
    let word = bench.word();
    let mark = if target.contains('?') { '&' } else { '?' };
    let target = format!("{target}{mark}{word}");
    let bytes = format!("{method} {target} HTTP/1.1\r\n{lines}\r\n").into_bytes();
    let what = format!("{method} {target} with {lines:?}");
    if status == 200 {
        let forwarded = Forwarded::bare(method, &target);
        return Trial::passed(&word, &what, forwarded, vec![bytes]).ending(End::Any);
    }
    Trial::refused(&word, &what, status, vec![bytes]).by(method).ending(End::Any)
}
