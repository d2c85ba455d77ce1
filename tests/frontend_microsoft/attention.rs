//! Attention, experts, and weights of a few bits in blocks.

use crate::Input::{Absent, Ints, Number, Of, Weight, WeightOf, X};
use crate::frontend_models::{int, ints};
use crate::{Case, FLOAT8, INT8, INT32, INT64, UINT8, case, of, text};

/// Queries, keys and values of 2 · 16 rows are made where the weight is given; then two products of 4 heads of 16.
pub(crate) fn attention() -> Vec<Case> {
    let (made, attended) = (2 * 16 * 64 * 192, 2 * (2 * 16 * 16 * 64));
    let heads = || vec![int("num_heads", 4)];
    let y = |macs, weight_bytes| of(&[(&[2, 16, 64], 32)], macs, weight_bytes);
    let inputs = [X(&[2, 16, 64]), Weight(&[64, 192]), Weight(&[192])];
    let (x, weight) = (Of(UINT8, &[2, 16, 64]), WeightOf(INT8, &[64, 192]));
    let quantized = [x, weight, Weight(&[192]), Number, Number, Absent, Number, Number];
    // 24 keys for each query.
    let apart = [X(&[2, 16, 64]), X(&[2, 24, 64]), X(&[2, 24, 64])];
    // Two heads of queries share a key; keys and values of 2 heads are outputs.
    let shared = of(&[(&[1, 16, 64], 32), (&[1, 2, 16, 16], 32), (&[1, 2, 16, 16], 32)], 2 * (16 * 16 * 64), 0);
    let grouped = [X(&[1, 16, 64]), X(&[1, 16, 32]), X(&[1, 16, 32])];
    // Made of constants, so that it is one.
    let far = of(&[(&[1, 4, 16, 16], 32)], 0, 4 * 16 * 16 * 4);
    let (each, gates) = (X(&[1, 16, 64]), X(&[1, 16, 4]));
    let linear = [each, each, each, Absent, gates, gates];
    let linear_heads = vec![int("q_num_heads", 4), int("kv_num_heads", 4)];
    // Of tables of cosines and sines a row for each of 2 · 16 positions.
    let turned_by_three = [X(&[2, 4, 16, 8]), Of(INT64, &[3, 2, 16]), Weight(&[64, 4]), Weight(&[64, 4])];
    let rotated = of(&[(&[2, 4, 16, 8], 32)], 0, 2 * 32 * 4 * 4);
    let turned = [X(&[2, 4, 16, 8]), Of(INT64, &[1]), Weight(&[64, 4]), Weight(&[64, 4])];
    let joined = [X(&[2, 16, 32]), Of(INT64, &[2, 16]), Weight(&[64, 4]), Weight(&[64, 4])];
    vec![
        case("Attention", &inputs, heads(), y(made + attended, (64 * 192 + 192) * 4)),
        case("QAttention", &quantized, heads(), y(made + attended, 64 * 192 + 192 * 4)),
        case("MultiHeadAttention", &apart, heads(), y(2 * (2 * 16 * 24 * 64), 0)),
        case("GroupQueryAttention", &grouped, [heads(), vec![int("kv_num_heads", 2)]].concat(), shared),
        case("RotaryEmbedding", &joined, heads(), of(&[(&[2, 16, 32], 32)], 0, 2 * 32 * 4 * 4)),
        case("RotaryEmbedding", &turned, vec![], of(&[(&[2, 4, 16, 8], 32)], 0, 2 * 32 * 4 * 4)),
        case("MRotaryEmbedding", &turned_by_three, vec![ints("mrope_section", &[2, 1, 1])], rotated),
        case("RelativePositionBias", &[Weight(&[32, 4]), Ints(&[16]), Ints(&[16])], vec![], far),
        case("LinearAttention", &linear, linear_heads, of(&[(&[1, 16, 64], 32), (&[1, 4, 16, 16], 32)], 0, 0)),
    ]
}

/// New tokens attend to themselves and to what is in a cache: two products of 4 heads of 16.
pub(crate) fn attention_to_the_past() -> Vec<Case> {
    let heads = || vec![int("num_heads", 4)];
    let shared = || vec![int("num_heads", 4), int("past_present_share_buffer", 1)];
    let (weight, bias, bytes) = (Weight(&[64, 192]), Weight(&[192]), (64 * 192 + 192) * 4);
    // 16 new tokens and 8 old ones.
    let (x, past) = (X(&[2, 16, 64]), X(&[2, 2, 4, 8, 16]));
    let attended = 2 * (2 * 16 * 24 * 64);
    let present = |macs, bytes| of(&[(&[2, 16, 64], 32), (&[2, 2, 4, 24, 16], 32)], macs, bytes);
    let both = present(2 * 16 * 64 * 192 + attended, bytes);
    let quantized = [Of(UINT8, &[2, 16, 64]), WeightOf(INT8, &[64, 192]), bias, Number, Number, Absent, Number, Number];
    let narrow = present(2 * 16 * 64 * 192 + attended, 64 * 192 + 192 * 4);
    // Without old ones keys and values are outputs all the same.
    let first = of(&[(&[2, 16, 64], 32), (&[2, 2, 4, 16, 16], 32)], 2 * 16 * 64 * 192 + 2 * (2 * 16 * 16 * 64), bytes);
    // One new token behind 8 of a buffer that has room for 24.
    let one = X(&[2, 1, 64]);
    let in_buffer = [one, weight, bias, Absent, X(&[2, 2, 4, 24, 16]), Absent, Ints(&[8])];
    let nine = 2 * (2 * 9 * 64);
    let step = of(&[(&[2, 1, 64], 32), (&[2, 2, 4, 24, 16], 32)], 2 * 64 * 192 + nine, bytes);
    let cache = X(&[2, 4, 24, 16]);
    let of_heads = of(&[(&[2, 1, 64], 32), (&[2, 4, 24, 16], 32), (&[2, 4, 24, 16], 32)], nine, 0);
    let masked = [one, one, one, Absent, Absent, cache, cache, Ints(&[8])];
    // Cross attention to 24 keys that are heads already.
    let cross = of(&[(&[2, 1, 64], 32)], 2 * (2 * 24 * 64), 0);
    let old = X(&[2, 4, 8, 16]);
    let grown: &[(&[u64], u64)] =
        &[(&[2, 16, 64], 32), (&[2, 4, 24, 16], 32), (&[2, 4, 24, 16], 32), (&[2, 4, 16, 24], 32)];
    let packed = of(&[(&[2, 16, 64], 32)], 2 * (2 * 16 * 16 * 64), 0);
    vec![
        case("Attention", &[x, weight, bias, Absent, past], heads(), both),
        case("Attention", &[x, weight, bias], heads(), first),
        case("QAttention", &[&quantized[..], &[past]].concat(), heads(), narrow),
        case("DecoderMaskedSelfAttention", &in_buffer, shared(), step),
        case("MultiHeadAttention", &[x, x, x, Absent, Absent, Absent, old, old], heads(), of(grown, attended, 0)),
        case("MultiHeadAttention", &[X(&[2, 16, 4, 3, 16])], heads(), packed),
        case("MultiHeadAttention", &[x, X(&[2, 16, 4, 2, 16])], heads(), packed),
        case("DecoderMaskedMultiHeadAttention", &masked, shared(), of_heads),
        case("DecoderMaskedMultiHeadAttention", &[one, cache, cache], heads(), cross),
    ]
    .into_iter()
    .chain(attention_that_shares())
    .collect()
}

/// 4 heads of queries share 2 of keys and values, as does one new token with 8 old ones a buffer of 24.
fn attention_that_shares() -> Vec<Case> {
    let heads = || vec![int("num_heads", 4), int("kv_num_heads", 2)];
    let (q, k, cache, length) = (X(&[1, 1, 64]), X(&[1, 1, 32]), X(&[1, 2, 24, 16]), Of(INT32, &[1]));
    let outputs: &[(&[u64], u64)] = &[(&[1, 1, 64], 32), (&[1, 2, 24, 16], 32), (&[1, 2, 24, 16], 32)];
    let attended = |keys: u64| of(outputs, 2 * (keys * 64), 0);
    let group = [q, k, k, cache, cache, length, Ints(&[9])];
    // Only the last 4 of them.
    let window = vec![int("num_heads", 4), int("kv_num_heads", 2), int("local_window_size", 4)];
    // One token's row of tables of cosines and sines, for queries and for keys.
    let turned = [heads(), vec![int("do_rotary", 1)]].concat();
    let together =
        [X(&[1, 1, 128]), Absent, Absent, cache, cache, length, Ints(&[9]), Weight(&[64, 8]), Weight(&[64, 8])];
    let sparse = [q, k, k, cache, cache, Of(INT32, &[1, 3]), Of(INT32, &[1, 4]), Ints(&[9]), length];
    vec![
        case("GroupQueryAttention", &group, heads(), attended(9)),
        case("GroupQueryAttention", &group, window, attended(4)),
        case("GroupQueryAttention", &together, turned, of(outputs, 2 * (9 * 64), 4 * 8 * 4)),
        case("SparseAttention", &sparse, [heads(), vec![int("sparse_block_size", 16)]].concat(), attended(9)),
    ]
}

/// Two sequences of up to 16 tokens, 20 together: all are taken to have 16.
pub(crate) fn attention_without_padding() -> Vec<Case> {
    let heads = || vec![int("num_heads", 4)];
    let (offsets, begins) = (Of(INT32, &[2, 16]), Of(INT32, &[3]));
    let (x, attended) = (X(&[20, 64]), 2 * (2 * 16 * 16 * 64));
    let y = |macs, bytes| of(&[(&[20, 64], 32)], macs, bytes);
    let (weight, bias) = (Weight(&[64, 192]), Weight(&[192]));
    let made = y(20 * 64 * 192 + attended, (64 * 192 + 192) * 4);
    // 2 tokens, each with the 3 · 8 keys of its blocks.
    let (blocks, table) = (X(&[6, 8, 2, 16]), Of(INT32, &[2, 3]));
    let caches: &[(&[u64], u64)] = &[(&[2, 64], 32), (&[6, 8, 2, 16], 32), (&[6, 8, 2, 16], 32)];
    let paged = [X(&[2, 64]), X(&[2, 32]), X(&[2, 32]), blocks, blocks, begins, Of(INT32, &[2]), table];
    let shared = vec![int("num_heads", 4), int("kv_num_heads", 2)];
    // 16 tokens in blocks of 4 with 12 keys, and the weights of those that attend to all.
    let long = [X(&[1, 16, 64]), weight, bias, X(&[1, 16]), weight, bias, Of(INT32, &[1, 16])];
    let wide = of(&[(&[1, 16, 64], 32)], 2 * 16 * 64 * 192 + 2 * (16 * 12 * 64), 2 * (64 * 192 + 192) * 4);
    let removed: &[(&[u64], u64)] = &[(&[32, 64], 32), (&[2, 16], 32), (&[3], 32), (&[1], 32)];
    vec![
        case("PackedAttention", &[x, weight, bias, offsets, begins], heads(), made),
        case("PackedMultiHeadAttention", &[x, x, x, Absent, offsets, begins], heads(), y(attended, 0)),
        case(
            "PackedMultiHeadAttention",
            &[X(&[20, 4, 3, 16]), Absent, Absent, Absent, offsets, begins],
            heads(),
            y(attended, 0),
        ),
        case("PagedAttention", &paged, shared, of(caches, 2 * (2 * 24 * 64), 0)),
        case("LongformerAttention", &long, vec![int("num_heads", 4), int("window", 4)], wide),
        case("RemovePadding", &[X(&[2, 16, 64]), Of(INT32, &[2])], vec![], of(removed, 0, 0)),
        case("RestorePadding", &[x, offsets], vec![], of(&[(&[2, 16, 64], 32)], 0, 0)),
    ]
}

/// Of 8 experts of 32 by 48 each of 3 tokens goes to 2, so that 6 have one; or each of 6, so that all 8 have two, four of
/// which are filled up.
pub(crate) fn experts() -> Vec<Case> {
    let y = |macs, bytes| of(&[(&[3, 32], 32)], macs, bytes);
    let (x, router) = (X(&[3, 32]), X(&[3, 8]));
    let gated = || vec![int("k", 2), text("activation_type", "swiglu"), int("swiglu_fusion", 1)];
    let (first, last) = (Weight(&[8, 96, 32]), Weight(&[8, 32, 48]));
    let (wide, turned) = (Weight(&[8, 48, 32]), Weight(&[8, 32, 48]));
    let biased = [x, router, first, Weight(&[8, 96]), last, Weight(&[8, 32])];
    let many = [X(&[2, 3, 32]), X(&[6, 8]), wide, Absent, last];
    let six = of(&[(&[2, 3, 32], 32)], 8 * 2 * 2 * 32 * 48, 8 * 2 * 32 * 48 * 4);
    let gelu = vec![int("k", 2), text("activation_type", "gelu")];
    // A third product for the gate, one expert a token.
    let silu = vec![int("k", 1), text("activation_type", "silu")];
    let quantized = [x, router, WeightOf(UINT8, &[8, 96, 16]), Weight(&[8, 96]), Absent, WeightOf(UINT8, &[8, 32, 24])];
    // A scale for each 16 elements of a row.
    let in_blocks = [
        x,
        router,
        WeightOf(UINT8, &[8, 96, 16]),
        Weight(&[8, 96, 2]),
        Absent,
        WeightOf(UINT8, &[8, 32, 24]),
        Weight(&[8, 32, 3]),
    ];
    let macs = 6 * 3 * 32 * 48;
    vec![
        case("MoE", &biased, gated(), y(macs, 6 * (3 * 32 * 48 + 96 + 32) * 4)),
        case("MoE", &many, gelu, six),
        case("MoE", &[x, router, wide, Absent, turned, Absent, wide], silu, y(3 * 3 * 32 * 48, 3 * 3 * 32 * 48 * 4)),
        case("QMoE", &quantized, gated(), y(macs, macs / 2)),
        case("QMoE", &in_blocks, [gated(), vec![int("block_size", 16)]].concat(), y(macs, macs / 2 + macs / 16 * 4)),
    ]
}

/// 32 columns of 64 elements, with a scale of 32 bits for each 16 of them where nothing else is said.
pub(crate) fn weights_in_blocks() -> Vec<Case> {
    let (x, y): (_, &[(&[u64], u64)]) = (X(&[2, 64]), &[(&[2, 32], 32)]);
    let flat = [x, WeightOf(UINT8, &[1024]), Weight(&[128])];
    let of_four = vec![int("K", 64), int("N", 32), int("block_size", 16), int("quant_type", 1)];
    let products = 2 * 64 * 32;
    let float8 = [x, WeightOf(FLOAT8, &[32, 64]), Weight(&[32, 4])];
    let float4 = [x, WeightOf(UINT8, &[32, 32]), WeightOf(UINT8, &[32, 4]), Number];
    // A gate and what it opens; queries and, half as wide, keys and values. Blocks of 32.
    let (wide, scales) = (WeightOf(UINT8, &[32, 2, 16]), Weight(&[32, 2]));
    let (narrow, few) = (WeightOf(UINT8, &[16, 2, 16]), Weight(&[16, 2]));
    let attributes = || vec![int("K", 64), int("bits", 4), int("block_size", 32)];
    let mlp = [x, x, Weight(&[64]), wide, scales, Absent, wide, scales, Weight(&[32])];
    let pair: &[(&[u64], u64)] = &[(&[2, 32], 32), (&[2, 64], 32)];
    let qkv = [x, Absent, Weight(&[64]), wide, scales, Absent, narrow, few, Absent, narrow, few, Absent];
    let three: &[(&[u64], u64)] = &[(&[2, 32], 32), (&[2, 16], 32), (&[2, 16], 32)];
    let column = 64 / 2 + 2 * 4;
    // 6 rows of 32 bytes of two elements, each with 4 scales; and of 64 bytes.
    let ids = Of(INT64, &[2, 3]);
    let rows: &[(&[u64], u64)] = &[(&[2, 3, 64], 32)];
    let four = [WeightOf(UINT8, &[100, 32]), ids, Weight(&[100, 4])];
    let eight = [WeightOf(UINT8, &[100, 64]), ids, Weight(&[100, 4]), WeightOf(UINT8, &[100, 4])];
    let along = |bits| vec![int("bits", bits), int("block_size", 16), int("quantize_axis", 1)];
    vec![
        case("MatMulBnb4", &flat, of_four, of(y, products, 1024 + 128 * 4)),
        case("MatMulBlockQuantizedFp8Weight", &float8, vec![int("block_size", 16)], of(y, products, 64 * 32 + 128 * 4)),
        case("MatMulBlockQuantizedFp4Weight", &float4, vec![], of(y, products, 64 * 32 / 2 + 128)),
        case(
            "MatMulNBitsMlp",
            &mlp,
            [attributes(), vec![int("N", 32)]].concat(),
            of(pair, 2 * products, 2 * 32 * column + 96 * 4),
        ),
        case(
            "MatMulNBitsQkv",
            &qkv,
            [attributes(), vec![int("Nq", 32), int("Nkv", 16)]].concat(),
            of(three, 2 * products, 64 * column + 64 * 4),
        ),
        case("GatherBlockQuantized", &four, along(4), of(rows, 0, 6 * (32 + 4 * 4))),
        case("GatherBlockQuantized", &eight, along(8), of(rows, 0, 6 * (64 + 4 * 4 + 4))),
    ]
}
