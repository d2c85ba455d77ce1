//! The checker on two small schedules, on what breaks each of its rules, and on noise.
//!
//! - `example.json`: a convolution cut along its rows beside a fully connected layer.
//! - `residual.json`: a product cut along k; its result is spilled, and loaded again for a residual add, whose two tiles
//!   write in place. Beside it a table of measured layers, run twice.

mod accepts;
mod hostile;
mod oracle;
mod rules;
mod support;
