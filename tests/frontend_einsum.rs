//! Einsum, whose letters are the loops.

mod frontend_models;

use frontend_models::Graph;
use layerweaver::frontend::{Options, parse};
use layerweaver::ir::{Layer, Role};
use onnx_protobuf::{AttributeProto, attribute_proto::AttributeType};

/// Each layer's loops, with their roles and sizes.
fn loops(inputs: &[&[i64]], equation: &str, output: &[i64]) -> Vec<String> {
    let names: Vec<_> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let graph = names.iter().zip(inputs).fold(Graph::new(), |graph, (name, shape)| graph.input(name, shape));
    let equation = AttributeProto {
        name: "equation".into(),
        s: equation.as_bytes().to_vec(),
        type_: AttributeType::STRING.into(),
        ..Default::default()
    };
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let graph = graph.node("Einsum", &names, &["y"], vec![equation]).output("y", output);
    let import = parse(graph.bytes(), "m", &Options::default()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(import.warnings.is_empty(), "{:?}", import.warnings);
    let shown = |layer: &Layer| {
        let of = |role: Role| layer.dims.iter().filter(move |dim| dim.role == role);
        let roles = [("group", Role::Group), ("m", Role::M), ("n", Role::N), ("k", Role::K)];
        let roles = roles.map(|(name, role)| {
            let dims: Vec<_> = of(role).map(|dim| format!("{}{}", dim.name, dim.size)).collect();
            format!("{name} {}", dims.join(" "))
        });
        roles.join(", ")
    };
    import.model.layers.iter().map(shown).collect()
}

#[test]
fn letters_of_two_operands() {
    let loops = loops(&[&[2, 3, 5], &[2, 5, 7]], "bij,bjk->bik", &[2, 3, 7]);
    assert_eq!(loops, ["group b2, m i3, n k7, k j5"]);
}

/// A mixture of experts as PyTorch writes it: the sum over `f` first, and `k` stays for the weights of the experts.
#[test]
fn three_operands_are_two_products() {
    let loops = loops(&[&[4, 2, 128], &[4, 2, 128, 64], &[4, 2]], "tkf,tkfd,tk->td", &[4, 64]);
    assert_eq!(loops, ["group t4 k2, m , n d64, k f128", "group t4, m d64, n , k k2"]);
}
