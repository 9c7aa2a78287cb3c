//! The version of this build and the three ways to print it.

/// Name and version with a leading `v`, as the welcome line has it.
pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `lockd v1.2.3`
    Full,
    /// `v1.2.3`
    Version,
    /// `1.2.3`
    Semver,
}

pub(crate) fn text(form: Form) -> String {
    match form {
        Form::Full => format!("lockd {VERSION}"),
        Form::Version => VERSION.to_owned(),
        Form::Semver => env!("CARGO_PKG_VERSION").to_owned(),
    }
}
