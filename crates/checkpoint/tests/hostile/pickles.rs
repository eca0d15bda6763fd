//! Pickles that call, nest, repeat, claim and contradict themselves.

use crate::make::{
    Bytes, STORED, archive, check, checkpoint, dict, global, number, numbers, pickle, tensor, text,
    zip,
};
use checkpoint::{Refusal, Stated};

#[test]
fn a_checkpoint_made_by_hand_is_read() {
    let file = archive(&checkpoint(&[]));
    let stated = Stated::read(&file).unwrap();
    assert_eq!(stated.kwargs, r#"{"channels":4}"#);
    assert_eq!(stated.tensors().collect::<Vec<_>>(), [("w", &[2, 2][..])]);
}

#[test]
fn programs_are_refused_by_the_name_of_what_they_would_call() {
    let check = |module: &str, name: &str, argument: &str| {
        let call = [
            global(module, name),
            b"(".to_vec(),
            text(argument),
            b"tR".to_vec(),
        ];
        let full = format!("{module}.{name}");
        for file in [
            archive(&pickle(&[&call.concat()])),
            archive(&checkpoint(&[("training_args", call.concat())])),
            archive(&checkpoint(&[("klass", call.concat())])),
        ] {
            let refused = Stated::read(&file).expect_err(&full);
            assert!(
                matches!(&refused, Refusal::Global(found) if *found == full),
                "{refused:?}"
            );
        }
    };
    check("os", "system", "touch /tmp/ran");
    check("posix", "system", "true");
    check("builtins", "eval", "1+1");
    check("__builtin__", "eval", "1+1");
    check("builtins", "getattr", "x");
    check("subprocess", "Popen", "true");
    check("torch", "load", "other.th");
    check("torch.storage", "_load_from_bytes", "x");
    check("numpy.core.multiarray", "_reconstruct", "x");
    check("omegaconf.dictconfig", "DictConfig", "x");
    check("collections", "OrderedDict.fromkeys", "x");
    check("demucs", "anything", "x");
}

#[test]
fn names_that_are_known_are_not_called_with_what_they_do_not_take() {
    let call = |e: &Refusal| matches!(e, Refusal::Call(_) | Refusal::Malformed { .. });
    let class = [global("demucs.htdemucs", "HTDemucs"), b")R".to_vec()].concat();
    check(
        "the class itself",
        &archive(&checkpoint(&[("klass", class)])),
        call,
    );
    let storage = [global("torch", "FloatStorage"), b")R".to_vec()].concat();
    check("a storage", &archive(&checkpoint(&[("x", storage)])), call);
    let filled = [
        global("collections", "OrderedDict"),
        numbers(&[1]),
        b"R".to_vec(),
    ]
    .concat();
    check(
        "a filled dictionary",
        &archive(&checkpoint(&[("x", filled)])),
        call,
    );
    let fraction =
        |arguments: Bytes| [global("fractions", "Fraction"), arguments, b"R".to_vec()].concat();
    let divided = fraction(numbers(&[1, 0]));
    check(
        "a fraction over zero",
        &archive(&checkpoint(&[("x", divided)])),
        call,
    );
    let worded = fraction([&b"("[..], &text("one/two"), b"t"].concat());
    check(
        "a fraction of words",
        &archive(&checkpoint(&[("x", worded)])),
        call,
    );
    let called = [number(1), b")R".to_vec()].concat();
    check("a number", &archive(&checkpoint(&[("x", called)])), call);
    let built = [global("demucs.htdemucs", "HTDemucs"), b"}b".to_vec()].concat();
    check(
        "a class's state",
        &archive(&checkpoint(&[("x", built)])),
        call,
    );
}

#[test]
fn operations_that_no_checkpoint_needs_are_refused() {
    for operation in [
        b'i', b'o', b'P', b'p', b'g', b'S', b'I', b'F', b'L', b'V', b'0', b'1', b'2', b'd', b'l',
        0x81, 0x82, 0x84, 0x8b, 0x8c, 0x8e, 0x8f, 0x90, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
        0xff,
    ] {
        let file = archive(&pickle(&[b"N", &[operation], b"0\n0\n"]));
        let refused = Stated::read(&file).expect_err("an operation");
        let expected = Refusal::Operation { operation, at: 3 };
        assert_eq!(refused, expected, "{operation:#04x}");
    }
    check("protocol 4", &archive(b"\x80\x04N."), |e| {
        *e == Refusal::Protocol(4)
    });
    check("protocol 0", &archive(b"(dp0\n."), |e| {
        *e == Refusal::Protocol(0)
    });
}

#[test]
fn pickles_without_end_are_refused_before_they_cost_anything() {
    let depth = |e: &Refusal| matches!(e, Refusal::Depth(_));
    let deep = [b"]".repeat(100_000), b"a".repeat(99_999)].concat();
    check(
        "deep lists",
        &archive(&checkpoint(&[("kwargs", dict(&[("x", deep)]))])),
        depth,
    );
    let marks = b"(".repeat(1 << 20);
    check("a million marks", &archive(&pickle(&[&marks])), |e| {
        matches!(e, Refusal::TooMany(..))
    });
    let itself = dict(&[("x", b"]q\x00h\x00a".to_vec())]);
    check(
        "a list in itself",
        &archive(&checkpoint(&[("kwargs", itself)])),
        depth,
    );
    // Each list holds the one before it ten times: a million values by seventy operations.
    let mut laughs = b"(]q\x00".to_vec();
    for level in 1..7u8 {
        let inner = [b'h', level - 1].repeat(10);
        laughs.extend([&b"]("[..], &inner, b"eq", &[level]].concat());
    }
    laughs.push(b't');
    check(
        "lists named ten times each",
        &archive(&checkpoint(&[("kwargs", dict(&[("x", laughs)]))])),
        |e| matches!(e, Refusal::TooMany(_, what) if what == "values of arguments"),
    );
    let far = [b"]r", &u32::MAX.to_le_bytes()[..]].concat();
    let malformed = |e: &Refusal| matches!(e, Refusal::Malformed { .. });
    check(
        "a note of a far number",
        &archive(&checkpoint(&[("x", far)])),
        malformed,
    );
    let never = [b"j", &u32::MAX.to_le_bytes()[..]].concat();
    check(
        "a note that was never made",
        &archive(&checkpoint(&[("x", never)])),
        malformed,
    );
    let cut = |e: &Refusal| *e == Refusal::CutOff;
    let claimed = [b"X", &u32::MAX.to_le_bytes()[..], b"short"].concat();
    check("a text of 4 GiB", &archive(&pickle(&[&claimed])), cut);
    check("no end", &archive(b"\x80\x02N"), cut);
    check("a name without an end", &archive(b"\x80\x02cos"), cut);
    check("nothing", &archive(b""), cut);
    let name = global(&"m".repeat(300), "n");
    check("a long name", &archive(&pickle(&[&name])), malformed);
    let long = vec![0x80; 5 << 20];
    check("a pickle of 5 MiB", &archive(&long), |e| {
        matches!(e, Refusal::PickleBytes(..))
    });
    let wide = [&[0x8a, 9][..], &[1; 9]].concat();
    check(
        "a number of 72 bits",
        &archive(&checkpoint(&[("x", wide)])),
        malformed,
    );
    check("more behind the end", &archive(b"\x80\x02N.N."), malformed);
    check("values left over", &archive(b"\x80\x02NN."), malformed);
    check("values from nowhere", &archive(b"\x80\x02a."), malformed);
    check(
        "a value from below a mark",
        &archive(b"\x80\x02](Na."),
        malformed,
    );
    check("pairs of one", &archive(b"\x80\x02}(Nu."), malformed);
}

#[test]
fn tensors_that_claim_what_is_not_there_are_refused() {
    let state = |tensor: Bytes| archive(&checkpoint(&[("state", dict(&[("w", tensor)]))]));
    let outside = |e: &Refusal| matches!(e, Refusal::Tensor(..));
    let wide = i32::MAX;
    let float = "FloatStorage";
    check("beyond", &state(tensor(float, 4, 1, &[4], &[1])), outside);
    check(
        "huge",
        &state(tensor(float, 4, 0, &[wide, wide, wide], &[1, 1, 1])),
        outside,
    );
    check("far", &state(tensor(float, 4, wide, &[1], &[1])), outside);
    check(
        "a longer storage",
        &state(tensor(float, 1 << 30, 0, &[4], &[1])),
        outside,
    );
    check(
        "a shorter storage",
        &state(tensor(float, 3, 0, &[3], &[1])),
        outside,
    );
    check(
        "halves",
        &state(tensor("HalfStorage", 4, 0, &[4], &[1])),
        outside,
    );
    check(
        "steps amiss",
        &state(tensor(float, 4, 0, &[2, 2], &[1])),
        outside,
    );
    check(
        "below zero",
        &state(tensor(float, 4, -1, &[1], &[1])),
        |e| matches!(e, Refusal::Malformed { .. }),
    );
    check("backwards", &state(tensor(float, 4, 3, &[4], &[-1])), |e| {
        matches!(e, Refusal::Malformed { .. })
    });
    // One value, named a trillion times by steps of zero.
    check(
        "one value for all",
        &state(tensor(float, 4, 0, &[1 << 20, 1 << 20], &[0, 0])),
        |e| matches!(e, Refusal::TooMany(_, what) if what == "values"),
    );
    let dtype = |e: &Refusal| matches!(e, Refusal::Dtype(..));
    check(
        "doubles",
        &state(tensor("DoubleStorage", 2, 0, &[2], &[1])),
        dtype,
    );
    check(
        "whole numbers",
        &state(tensor("LongStorage", 2, 0, &[2], &[1])),
        dtype,
    );
    let missing = zip(&[("a/data.pkl", STORED, &checkpoint(&[]))]);
    check("no storage", &missing, |e| {
        matches!(e, Refusal::EntryMissing(_))
    });
}

#[test]
fn checkpoints_of_another_form_are_refused_by_their_part() {
    let kind = |e: &Refusal| matches!(e, Refusal::Kind(..));
    let twice = |e: &Refusal| matches!(e, Refusal::Twice(_));
    check("a list", &archive(b"\x80\x02]."), kind);
    check(
        "numbers for names",
        &archive(b"\x80\x02}K\x01K\x02s."),
        kind,
    );
    check("no parts", &archive(b"\x80\x02}."), |e| {
        matches!(e, Refusal::Missing(_))
    });
    let double = dict(&[("args", b")".to_vec()), ("args", b")".to_vec())]);
    check("a part twice", &archive(&pickle(&[&double])), twice);
    let double = dict(&[("depth", number(1)), ("depth", number(2))]);
    check(
        "an argument twice",
        &archive(&checkpoint(&[("kwargs", double)])),
        twice,
    );
    check(
        "a class in words",
        &archive(&checkpoint(&[("klass", text("HTDemucs"))])),
        kind,
    );
    check(
        "a number for a tensor",
        &archive(&checkpoint(&[("state", dict(&[("w", number(1))]))])),
        kind,
    );
    let endless = [b"G", &f64::NAN.to_be_bytes()[..]].concat();
    let kwargs = dict(&[("rescale", endless)]);
    check(
        "not a number",
        &archive(&checkpoint(&[("kwargs", kwargs)])),
        kind,
    );
    let one = tensor("FloatStorage", 4, 0, &[1], &[1]);
    let kwargs = dict(&[("rescale", one.clone())]);
    check(
        "a tensor for an argument",
        &archive(&checkpoint(&[("kwargs", kwargs)])),
        kind,
    );
    check(
        "a name of the header's own",
        &archive(&checkpoint(&[("state", dict(&[("__metadata__", one)]))])),
        kind,
    );
    let quantised = |e: &Refusal| *e == Refusal::Quantised;
    let marked = dict(&[("__quantized", b"\x88".to_vec())]);
    check(
        "a quantised state",
        &archive(&checkpoint(&[("state", marked)])),
        quantised,
    );
    let packed = global("diffq.base", "_Packed");
    check(
        "packed weights",
        &archive(&checkpoint(&[("state", packed)])),
        quantised,
    );
}

#[test]
fn texts_of_a_file_reach_a_terminal_on_one_line_and_without_control() {
    let evil = global("os\u{1b}[2J", &"x".repeat(200));
    let refused = Stated::read(&archive(&pickle(&[&evil])))
        .unwrap_err()
        .to_string();
    assert!(
        refused.len() < 250 && !refused.contains(char::is_control),
        "{refused}"
    );
}
