//! One program for all tests of the crate from outside.

#[cfg(test)]
mod peers;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod server;
