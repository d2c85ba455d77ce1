//! For each rule a schedule that only it refuses.

use serde_json::{Value, json};

use crate::support::{EXAMPLE, RESIDUAL, list, parse, retime, set, split_second_half, verdict};

/// A sound schedule made unsound.
pub(crate) struct Break {
    /// The one variant of `Violation` that says so.
    pub(crate) variant: &'static str,
    pub(crate) what: &'static str,
    base: &'static str,
    change: fn(&mut Value),
    /// Whether times and summary are made to fit the change.
    retimed: bool,
    /// Whether the oracle lets it pass.
    pub(crate) oracle_accepts: bool,
}

impl Break {
    const fn example(variant: &'static str, what: &'static str, change: fn(&mut Value)) -> Self {
        Self { variant, what, base: EXAMPLE, change, retimed: false, oracle_accepts: false }
    }

    const fn residual(variant: &'static str, what: &'static str, change: fn(&mut Value)) -> Self {
        Self { base: RESIDUAL, ..Self::example(variant, what, change) }
    }

    const fn retimed(self) -> Self {
        Self { retimed: true, ..self }
    }

    const fn oracle_accepts(self) -> Self {
        Self { oracle_accepts: true, ..self }
    }

    pub(crate) fn file(&self) -> Value {
        let mut file = parse(self.base);
        (self.change)(&mut file);
        if self.retimed {
            retime(&mut file).expect("it still runs");
        }
        file
    }
}

pub(crate) const BREAKS: &[Break] = &[
    // 1: structure.
    Break::example("Format", "another version", |f| set(f, "/version", json!(2))),
    Break::example("Npu", "more than the peak", |f| set(f, "/npu/dram/efficiency_permille", json!(1001))),
    Break::example("NoSuch", "a buffer", |f| set(f, "/commands/1/reads", json!([0, 99]))),
    Break::example("NoSuch", "a wait", |f| set(f, "/commands/1/waits", json!([99]))),
    Break::example("NoSuch", "a model", |f| set(f, "/buffers/7/model", json!(2))),
    Break::example("NoSuch", "a request", |f| set(f, "/buffers/7/request", json!(1))),
    Break::example("NoSuch", "a layer", |f| set(f, "/commands/3/layer", json!(1))),
    Break::example("NoSuch", "a dimension", |f| set(f, "/models/1/layers/0/reads/0/access/0/terms", json!([[3, 1]]))),
    Break::example("WaitsForItself", "", |f| set(f, "/commands/4/waits", json!([4]))),
    Break::example("Repeated", "a buffer", |f| set(f, "/commands/0/buffers", json!([0, 0]))),
    Break::example("OutOfRange", "no bits", |f| set(f, "/buffers/0/element_bits", json!(0))),
    Break::example("OutOfRange", "2^60 iterations", |f| {
        set(f, "/models/1/layers/0/dims/0/size", json!(1u64 << 60));
    }),
    Break::example("NotInside", "too far", |f| set(f, "/buffers/0/box/0", json!([0, 17]))),
    Break::example("NotInside", "empty", |f| set(f, "/commands/3/box/1", json!([32, 32]))),
    Break::example("NotInside", "a rank too few", |f| drop(list(f, "/commands/3/box").pop())),
    Break::example("AccessRank", "", |f| drop(list(f, "/models/1/layers/0/reads/0/access").pop())),
    Break::example("WritesNothing", "", |f| set(f, "/models/1/layers/0/write", Value::Null)),
    Break::example("WritesConstant", "", |f| set(f, "/models/1/tensors/2/kind", json!("input"))),
    Break::example("WrongRequest", "of a weight", |f| set(f, "/buffers/0/request", json!(0))),
    Break::example("WrongRequest", "of an input", |f| set(f, "/buffers/1/request", Value::Null)),
    Break::example("WrongBound", "", |f| set(f, "/models/0/layers/0/bound", json!("memory"))),
    Break::example("FinishShape", "", |f| set(f, "/summary/finish/1", json!([]))),
    Break::residual("TooFew", "a hundred requests in 17 commands", |f| {
        set(f, "/models/1/requests", json!(100));
        set(f, "/summary/finish/1", json!(vec![0; 100]));
    }),
    Break::example("UnknownPrecision", "8 bits where 16 are known", |f| {
        set(f, "/npu/precision", json!("bf16"));
        f["npu"]["matrix"]["precision_rate"] = json!({"bf16": 1});
    }),
    // 2: timing.
    Break::example("Deadlock", "", |f| set(f, "/commands/1/waits", json!([0, 5]))),
    Break::example("WrongTimes", "", |f| set(f, "/commands/7/start", json!(1101))),
    // 3: buffers.
    Break::example("OutsideSram", "", |f| set(f, "/npu/sram/bytes", json!(8512))),
    Break::example("Misaligned", "", |f| set(f, "/buffers/5/address", json!(6465))),
    Break::example("WrongBufferBytes", "", |f| {
        set(f, "/buffers/5/bytes", json!(33));
        set(f, "/commands/7/bytes", json!(33));
    }),
    Break::residual("FilledTwice", "computed, and loaded again into the same stay", |f| {
        set(f, "/commands/8/buffers", json!([4]));
        set(f, "/commands/8/waits", json!([5, 6]));
        set(f, "/commands/11/reads", json!([5, 4]));
        set(f, "/commands/13/reads", json!([5, 4]));
    })
    .retimed(),
    // 4: costs.
    Break::example("WrongTransferBytes", "", |f| set(f, "/commands/0/bytes", json!(2303))),
    Break::example("WrongCycles", "of a store", |f| set(f, "/commands/7/cycles", json!(5))).retimed(),
    Break::example("WrongCycles", "no drain", |f| set(f, "/commands/3/cycles", json!(129))).retimed(),
    Break::residual("WrongCycles", "of a vector tile", |f| set(f, "/commands/6/cycles", json!(4))).retimed(),
    Break::example("WrongOp", "", |f| set(f, "/commands/3/op", json!("vector"))),
    Break::example("WrongOp", "figures given by somebody", |f| {
        set(f, "/models/1/layers/0/compute_cycles", json!(160));
        set(f, "/commands/3/cycles", json!(160));
    })
    .retimed(),
    Break::residual("WrongShare", "", |f| {
        set(f, "/commands/7/cycles", json!(52));
        set(f, "/commands/9/cycles", json!(49));
    })
    .retimed(),
    Break::residual("WrongShareSum", "", |f| set(f, "/commands/9/cycles", json!(51))).retimed(),
    Break::example("AccumulatorsFull", "8192 bytes of sums from 72 rows on 16", |f| {
        f["npu"]["matrix"]["accumulator_bytes"] = json!(8191);
    }),
    // 5: completeness.
    Break::residual("ComputedTwice", "", |f| set(f, "/commands/9/box", json!([[1, 3]]))),
    Break::example("NotComputed", "seven of eight channels in the first tile", |f| {
        set(f, "/commands/1/box/3", json!([0, 7]));
        set(f, "/commands/1/cycles", json!(528));
    })
    .retimed(),
    Break::residual("OutOfTableOrder", "", |f| list(f, "/commands").swap(15, 16)).retimed(),
    Break::example("OutputNotStored", "", |f| drop(list(f, "/commands").remove(7))).retimed(),
    // 6: writes.
    Break::residual("NotItsOutput", "", |f| set(f, "/commands/12/writes", json!([7]))),
    Break::example("WriteGaps", "every other column", |f| {
        set(f, "/models/1/layers/0/write/access/1/terms", json!([[1, 2]]));
    }),
    Break::example("WriteNotCovered", "a column short", |f| {
        set(f, "/models/1/tensors/2/kind", json!("activation"));
        set(f, "/buffers/5/box/1", json!([0, 31]));
        set(f, "/buffers/5/bytes", json!(31));
        set(f, "/commands/7/bytes", json!(31));
    }),
    Break::residual("TwoLayers", "both write the first element", |f| {
        let by_iteration = json!([{"offset": 0, "terms": [[0, 1]]}]);
        let both_write = json!({"tensor": 1, "access": by_iteration});
        write_from_both(f, &both_write);
    }),
    Break::residual("TwoLayers", "both write the whole of it", |f| {
        write_from_both(f, &json!({"tensor": 1, "access": null}));
    })
    .oracle_accepts(),
    Break::residual("PartialSumsNotRead", "", |f| set(f, "/commands/3/reads", json!([0, 2]))),
    Break::residual("WrongSumWidth", "partial", |f| {
        set(f, "/buffers/3/element_bits", json!(16));
        set(f, "/buffers/3/bytes", json!(128));
    }),
    Break::residual("WrongSumWidth", "partial, and passed on to two tiles", |f| {
        split_second_half(f);
        set(f, "/buffers/3/element_bits", json!(16));
        set(f, "/buffers/3/bytes", json!(128));
    })
    .retimed()
    .oracle_accepts(),
    Break::residual("PartialSumsNotRead", "by one of two tiles", |f| {
        split_second_half(f);
        set(f, "/commands/6/reads", json!([0, 2]));
    })
    .retimed(),
    // 7: flow.
    Break::residual("NotAnOperand", "", |f| set(f, "/commands/12/reads", json!([8]))),
    Break::example("NeverWhole", "", |f| {
        let mut copy = f["buffers"][3].clone();
        copy["address"] = json!(8640);
        list(f, "/buffers").push(copy);
        set(f, "/commands/3/reads", json!([3, 4, 8]));
    }),
    Break::example("NotSurelyWhole", "read before it is loaded", |f| {
        set(f, "/commands/4/waits", json!([6]));
        set(f, "/commands/6/waits", json!([]));
    })
    .retimed(),
    Break::residual("WrongWidth", "", |f| {
        set(f, "/buffers/9/element_bits", json!(16));
        set(f, "/buffers/9/bytes", json!(512));
        set(f, "/commands/10/bytes", json!(512));
        set(f, "/commands/10/cycles", json!(43));
    })
    .retimed(),
    Break::example("OperandNotCovered", "", |f| set(f, "/commands/6/reads", json!([0]))),
    Break::residual("LoadNotStored", "the store made a load of something else", |f| {
        let mut copy = f["buffers"][0].clone();
        copy["address"] = json!(2176);
        list(f, "/buffers").push(copy);
        set(f, "/commands/5/op", json!("load"));
        set(f, "/commands/5/buffers", json!([10]));
        set(f, "/commands/5/bytes", json!(256));
        set(f, "/commands/5/cycles", json!(23));
    })
    .retimed(),
    // 8: races.
    Break::residual("BufferRace", "half of the output is stored while its neighbour's tile names it", |f| {
        let (mut upper, mut store) = (f["buffers"][7].clone(), f["commands"][14].clone());
        for (half, rows, address) in [(&mut upper, [2, 4], 2240), (&mut f["buffers"][7], [0, 2], 2176)] {
            half["box"][0] = json!(rows);
            half["bytes"] = json!(32);
            half["address"] = json!(address);
        }
        list(f, "/buffers").push(upper);
        set(f, "/commands/13/writes", json!([7, 10]));
        set(f, "/commands/14/bytes", json!(32));
        set(f, "/commands/14/waits", json!([11]));
        store["buffers"] = json!([10]);
        store["bytes"] = json!(32);
        list(f, "/commands").push(store);
    })
    .retimed(),
    Break::example("SramRace", "an operand is overwritten while it is read", |f| {
        set(f, "/commands/4/waits", json!([]));
    })
    .retimed(),
    Break::residual("SramRace", "in place, and read otherwise than written", |f| {
        set(f, "/models/0/layers/2/reads/0/access", Value::Null);
    }),
    Break::residual("SramRace", "final sums over partial ones of another width", |f| {
        set(f, "/buffers/4/address", json!(1280));
    }),
    Break::residual("SramRace", "a tile writes in place and does not know who had the bytes before", |f| {
        // x is stored from address 0 by cmd10. cmd14 loads y there after that, and o is written over it: by cmd13, which
        // waits for cmd14, and by cmd11, which reads y elsewhere and waits for cmd8 alone.
        set(f, "/buffers/7/address", json!(0));
        let (load_y, store_o) = (f["commands"][8].clone(), f["commands"][14].clone());
        f["commands"][8] = f["commands"][10].clone();
        f["commands"][10] = store_o.clone();
        for (field, value) in
            [("buffers", json!([0])), ("bytes", json!(256)), ("cycles", json!(23)), ("waits", json!([3]))]
        {
            f["commands"][10][field] = value;
        }
        f["commands"][14] = load_y;
        list(f, "/commands").push(store_o);
        set(f, "/commands/11/reads", json!([5, 4]));
        for (command, wait) in [(11, [8]), (13, [14]), (14, [10]), (15, [8]), (17, [13])] {
            set(f, &format!("/commands/{command}/waits"), json!(wait));
        }
        list(f, "/commands/14/waits").push(json!(5));
    })
    .retimed(),
    Break::residual("DramRace", "stored a second time, when it may be being loaded", |f| {
        let load = f["commands"][10].clone();
        f["commands"][10] = f["commands"][5].clone();
        list(f, "/commands").push(load);
        set(f, "/commands/15/waits", json!([17]));
    })
    .retimed(),
    // 9: summary.
    Break::example("WrongSummary", "", |f| set(f, "/summary/dma_busy_cycles", json!(609))),
    Break::example("WrongFinish", "", |f| set(f, "/summary/finish/1/0", json!(1205))),
    Break::example("BoundsOutOfOrder", "", |f| set(f, "/summary/floor_cycles", json!(1502))),
    Break::example("WrongRatio", "", |f| set(f, "/summary/speedup", json!(1.2))),
    Break::example("WrongRatio", "none", |f| set(f, "/summary/speedup", Value::Null)),
];

/// Gives both measured layers the same output, a tensor of four elements.
fn write_from_both(f: &mut Value, write: &Value) {
    list(f, "/models/1/tensors").push(json!({"name": "u", "shape": [4], "element_bits": 8, "kind": "activation"}));
    for layer in 0..2 {
        set(f, &format!("/models/1/layers/{layer}/write"), write.clone());
    }
    for (request, address, commands) in [(0, 2176, &[7, 9, 12][..]), (1, 2240, &[15, 16])] {
        list(f, "/buffers").push(json!({
            "address": address, "bytes": 4, "model": 1, "request": request, "tensor": 1, "box": [[0, 4]],
            "element_bits": 8
        }));
        for command in commands {
            set(f, &format!("/commands/{command}/writes"), json!([10 + request]));
        }
    }
}

fn variant(violation: &impl std::fmt::Debug) -> String {
    let text = format!("{violation:?}");
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}

#[test]
fn each_broken_schedule_is_refused_by_its_rule_alone() {
    for broken in BREAKS {
        let name = format!("{} {}", broken.variant, broken.what);
        let verdict = verdict(&broken.file()).unwrap_or_else(|| panic!("{name}: is read"));
        let found = verdict.expect_err(&name);
        assert!(found.iter().all(|violation| variant(violation) == broken.variant), "{name}: {found:#?}");
    }
}

#[test]
fn each_rule_has_a_broken_schedule() {
    let source = include_str!("../../src/simulate/violation.rs");
    let body =
        source.split_once("pub enum Violation {").and_then(|(_, rest)| rest.split_once("\n}")).expect("the enum").0;
    let is_variant = |line: &&str| line.starts_with("    ") && line[4..].starts_with(|c: char| c.is_ascii_uppercase());
    let variants: Vec<String> =
        body.lines().filter(is_variant).map(|line| variant(&format_args!("{}", &line[4..]))).collect();
    assert!(variants.len() > 40, "{variants:?}");
    for variant in variants {
        assert!(BREAKS.iter().any(|broken| broken.variant == variant), "{variant} has no broken schedule");
    }
}

/// A violation names what it is about, by id and by name.
#[test]
fn violations_are_sentences() {
    let sentence = |variant: &str| {
        let broken = BREAKS.iter().find(|broken| broken.variant == variant).expect("it is listed");
        verdict(&broken.file()).expect("it is read").expect_err("it is broken")[0].to_string()
    };
    assert_eq!(sentence("Deadlock"), "deadlock: cmd1 and cmd4 can never start");
    assert_eq!(sentence("WrongTimes"), "cmd7 (store) runs from 1100 to 1204; the file says from 1101 to 1204");
    assert_eq!(sentence("NotComputed"), "layer0 (conv of a), request 0: 276480 of its 294912 iterations are computed");
    assert_eq!(
        sentence("SramRace"),
        "buf1 (x of a) and buf6 (x of a) share bytes; cmd1 (conv of a) and cmd4 (load) use them neither in order nor in place"
    );
    assert_eq!(
        sentence("LoadNotStored"),
        "cmd8 (load) loads buf6 (y of a), and [0..4, 0..16] is not surely stored before"
    );
}
