//! Layerweaver weaves the layers of two neural networks into one command stream for an NPU, so that the compute array
//! and the DRAM channel are both busy.
//!
//! Data flow one way: [`frontend`] reads ONNX into the [`ir`]; [`analysis`] costs each layer on an [`npu`];
//! [`coschedule`] orders and places the tiles of two models; [`stream`] lowers that to the commands of a [`schedule`];
//! [`simulate`] checks the file without knowing how it came about; [`report`] shows it.

pub mod units;

pub mod ir;

pub mod frontend;

pub mod npu;

pub mod schedule;

pub mod cost;

pub mod analysis;

pub mod coschedule;

pub mod stream;

pub mod simulate;

pub mod report;

pub mod cli;
