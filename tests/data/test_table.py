"""Tables: read from CSV and Parquet, accepted from other libraries."""

import numpy as np
import pandas
import polars as pl
import pyarrow
import pytest

from pellucid.data.table import as_table, find_column, read_table
from pellucid.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def failure(path, **options):
    with pytest.raises(DataError) as caught:
        read_table(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_detected(write, separator):
    lines = ["name,size,share", "left, 3 ,0.5", "right,4,0.25"]
    table = read_table(write("\n".join(lines).replace(",", separator)))
    assert table.to_dicts() == [
        {"name": "left", "size": 3, "share": 0.5},
        {"name": "right", "size": 4, "share": 0.25},
    ]


def test_a_comma_in_text_does_not_hide_a_semicolon_separator(write):
    table = read_table(write("town;note\nUlm;a, b\nBonn;c\nJena;d, e, f\n"))
    assert table.to_dict(as_series=False) == {
        "town": ["Ulm", "Bonn", "Jena"],
        "note": ["a, b", "c", "d, e, f"],
    }


def test_decimal_commas_are_numbers_where_semicolons_separate(write):
    table = read_table(write("x;y\n1,5;a\n-,25;b\n3;c\n"))
    assert table["x"].to_list() == [1.5, -0.25, 3.0]


@pytest.mark.parametrize(
    "marker", ["?", "NA", "N/A", "NaN", "nan", "null", "", " ", " ? ", '""']
)
def test_every_missing_marker_becomes_null(write, marker):
    table = read_table(write(f"x,t\n1,a\n{marker},b\n3,{marker}\n"))
    assert table["x"].to_list() == [1, None, 3]
    assert table["t"].to_list() == ["a", "b", None]


def test_spaces_around_values_and_names_are_stripped(write):
    table = read_table(write('a , b\n 1, x y \n2 , " z" \n'))
    assert table.to_dict(as_series=False) == {"a": [1, 2], "b": ["x y", "z"]}


def test_quoted_fields_may_hold_separators_quotes_and_line_breaks(write):
    table = read_table(write('t,n\n"a, ""b"", c",1\n"two\n\nlines",2\n"",3\n'))
    assert table["t"].to_list() == ['a, "b", c', "two\n\nlines", None]
    assert table["n"].to_list() == [1, 2, 3]


def test_quotes_that_enclose_nothing_are_ordinary_characters(write):
    table = read_table(write('size,n\n5" pipe,1\n7" pipe,2\n9" pipe,3\n'))
    assert table["size"].to_list() == ['5" pipe', '7" pipe', '9" pipe']


def test_a_byte_order_mark_is_no_part_of_the_first_name(write):
    table = read_table(write("\ufeffα,b\r\n1,é\r\n2,ü\r\n".encode()))
    assert table.to_dict(as_series=False) == {"α": [1, 2], "b": ["é", "ü"]}


def test_old_line_ends_separate_rows(write):
    assert read_table(write("a,b\r1,2\r3,4")).rows() == [(1, 2), (3, 4)]


def test_blank_lines_are_no_rows_but_a_row_of_missing_values_is_one(write):
    table = read_table(write("\n\na,b\n1,2\n\n,\n  \n3,4\n\n\n"))
    assert table.rows() == [(1, 2), (None, None), (3, 4)]


def test_numbers_are_recognised_over_the_whole_column(write):
    rows = "".join(f"{k},{k}\n" for k in range(5000))
    table = read_table(write(f"whole,mixed\n{rows}0.5,many\n"))
    assert table["whole"].dtype == pl.Float64
    assert table["whole"][-1] == 0.5
    assert table["mixed"].dtype == pl.String


def test_true_and_false_in_any_case_are_booleans(write):
    table = read_table(write("f,n\nTrue,1\nfalse,2\n?,3\n"))
    assert table["f"].to_list() == [True, False, None]


def test_a_column_without_any_value_is_kept(write):
    table = read_table(write("a,b\n1,?\n2,\n"))
    assert table["b"].null_count() == 2


def test_a_missing_header_is_detected(write):
    table = read_table(write("5.1,3.5,setosa\n4.9,3.0,setosa\n6.3,?,virginica\n"))
    assert table.columns == ["column_1", "column_2", "column_3"]
    assert len(table) == 3


def test_a_missing_header_is_detected_where_every_column_is_text(write):
    table = read_table(write("p,x\ne,x\np,y\ne,y\n"))
    assert table.columns == ["column_1", "column_2"]


def test_names_of_text_columns_are_a_header(write):
    assert read_table(write("town,river\nUlm,Danube\nBonn,Rhine\n")).columns == [
        "town",
        "river",
    ]


def test_a_header_can_be_demanded_or_denied(write):
    path = write("1990,1991\n1,2\n3,4\n")
    assert read_table(path, header=True).columns == ["1990", "1991"]
    assert read_table(path, header=False).rows() == [(1990, 1991), (1, 2), (3, 4)]
    assert len(read_table(path)) == 3


def test_a_column_without_a_name_gets_its_position_for_a_name(write):
    assert read_table(write(",x\n0,1.5\n1,2.5\n")).columns == ["column_1", "x"]


def test_a_single_row_of_numbers_is_a_table(write):
    assert read_table(write("1,2.5,3")).rows() == [(1, 2.5, 3)]


def test_parquet_is_read_by_its_magic_bytes(tmp_path):
    path = tmp_path / "table.data"
    frame = pl.DataFrame({"x": [1.0, float("nan")], "c": ["a", None]})
    frame.write_parquet(path)
    assert read_table(path).rows() == [(1.0, "a"), (None, None)]


def test_a_damaged_parquet_file_is_named(write):
    text = failure(write(b"PAR1 and nothing more", "t.parquet"))
    assert text.startswith("not a readable Parquet file: ")
    assert "t.parquet" in text


def test_a_parquet_file_without_rows_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"x": pl.Series([], dtype=pl.Int64)}).write_parquet(path)
    assert failure(path) == f"the table has no rows · {path}"


def test_a_file_that_is_not_there_names_the_nearest_one(write):
    near = write("a\n1\n", "housing.csv")
    path = near.with_name("housin.csv")
    assert failure(path) == f"no such file · {path} · did you mean 'housing.csv'?"
    lost = near.parent / "nowhere" / "x.csv"
    assert failure(lost) == f"no such file · {lost} · check the path"


def test_a_folder_is_not_a_table(tmp_path):
    assert failure(tmp_path).startswith("cannot read the file: ")


@pytest.mark.parametrize("content", ["", "\n\n", "  \n", "\ufeff"])
def test_an_empty_file_says_so(write, content):
    path = write(content)
    assert failure(path) == f"the file is empty · {path}"


def test_a_header_without_rows_says_so(write):
    path = write("town,river\n")
    assert failure(path) == f"the file has a header and no rows · {path}"


@pytest.mark.parametrize(
    ("row", "fields"), [("3", 1), ("3,4,5", 3), ('"3,4",5,6', 3), ('"3,4"', 1)]
)
def test_a_ragged_row_is_named_by_its_line(write, row, fields):
    path = write(f'a,b\n"1\n1",2\n\n{row}\n7,8\n')
    assert failure(path) == (
        f"a row has {fields} fields · {path}, line 5 · the first row has 2 · "
        "quote the values that hold the separator"
    )


def test_two_columns_of_one_name_are_refused(write):
    path = write("a,b,a\n1,2,3\n")
    assert failure(path) == (
        f"two columns have the same name: 'a' · {path} · "
        "rename one of them in the first line"
    )


def test_an_open_quote_is_named_by_its_line(write):
    path = write('a,b\n1,"x"\n2,"y\n3,z\n')
    assert failure(path) == f"a quote is opened and never closed · {path}, line 3"


def test_a_quote_inside_a_bare_field_is_named_by_its_line(write):
    text = failure(write('a,b\n1,"x"\n2,5" y 6"\n'))
    assert text.startswith("a quote stands inside a field that does not begin with one")
    assert "line 3" in text


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\0\0", b"a,b\n\0,1\n"])
def test_a_binary_file_is_not_text(write, content):
    text = failure(write(content))
    assert "not a" in text or "not UTF-8" in text


def test_text_in_another_encoding_is_named_by_its_line(write):
    path = write("a,b\n1,x\n2,Köln\n".encode("latin-1"))
    assert failure(path) == (
        f"byte 0xf6 is not UTF-8 text · {path}, line 3 · save the file as CSV in UTF-8"
    )


MIXED = {
    "n": [1, 2, 3],
    "x": [0.5, float("nan"), 1.5],
    "t": ["a", None, "b"],
    "f": [True, False, True],
}
EXPECTED = [(1, 0.5, "a", True), (2, None, None, False), (3, 1.5, "b", True)]


@pytest.mark.parametrize(
    "make",
    [dict, pl.DataFrame, pandas.DataFrame, pyarrow.table],
    ids=["dict", "polars", "pandas", "pyarrow"],
)
def test_a_frame_of_any_library_becomes_the_same_table(make):
    table = as_table(make(MIXED))
    assert table.columns == list(MIXED)
    assert table.rows() == EXPECTED


def test_special_columns_of_pandas_are_understood():
    days = pandas.to_datetime(["2020-01-31", None, "2021-02-01"])
    frame = pandas.DataFrame(
        {
            "category": pandas.Categorical(["u", None, "v"]),
            "day": days,
            "zoned": days.tz_localize("Asia/Tokyo"),
            "nullable": pandas.array([1, None, 3], dtype="Int64"),
            "string": pandas.array(["a", None, "c"], dtype="string"),
            "mixed": [1, "x", None],
            7: [True, None, False],
        }
    )
    table = as_table(frame)
    assert table["category"].to_list() == ["u", None, "v"]
    assert table["day"].dt.month().to_list() == [1, None, 2]
    assert table["zoned"].dt.hour().to_list() == [0, None, 0]
    assert table["nullable"].to_list() == [1, None, 3]
    assert table["string"].to_list() == ["a", None, "c"]
    assert table["mixed"].to_list() == ["1", "x", None]
    assert table["7"].to_list() == [True, None, False]


def test_special_columns_of_polars_become_plain_ones():
    frame = pl.DataFrame(
        {
            "c": pl.Series(["a", "b"], dtype=pl.Categorical),
            "d": pl.Series(["1.5", "2.5"]).cast(pl.Decimal(10, 2)),
            "s": pl.Series([1500, 2500]).cast(pl.Duration("ms")),
            "z": [None, None],
        }
    )
    assert as_table(frame).rows() == [("a", 1.5, 1.5, None), ("b", 2.5, 2.5, None)]


def test_a_two_dimensional_array_gets_numbered_columns():
    table = as_table(np.array([[1.0, np.nan], [3.0, 4.0]], dtype=">f4"))
    assert table.to_dicts() == [
        {"column_1": 1.0, "column_2": None},
        {"column_1": 3.0, "column_2": 4.0},
    ]


def test_an_array_of_objects_is_recognised_column_by_column():
    table = as_table(np.array([["1", "a", 2.5], ["2", None, 3]], dtype=object))
    assert table.rows() == [(1, "a", 2.5), (2, None, 3.0)]


def test_what_is_no_table_is_refused():
    with pytest.raises(DataError, match="a list is not a table · expected a polars"):
        as_table([1, 2])
    with pytest.raises(DataError, match=r"shape \(3,\).*try X.reshape\(-1, 1\)"):
        as_table(np.zeros(3))
    with pytest.raises(DataError, match="columns differ in length · 'a': 1, 'b': 2"):
        as_table({"a": [1], "b": [1, 2]})
    with pytest.raises(DataError, match="the table has no columns"):
        as_table({})


def test_two_pandas_columns_of_one_name_are_refused():
    frame = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="unique column names"):
        as_table(frame)


def test_a_column_is_found_by_name_before_position():
    table = pl.DataFrame({"2": [1], "b": [2], "c": [3]})
    assert find_column(table, "2") == "2"
    assert find_column(table, "3") == "c"
    assert find_column(table, 1) == "2"
    assert find_column(table, "-1") == "c"
    assert find_column(table, "-3") == "2"


def test_a_misspelt_column_names_the_nearest():
    table = pl.DataFrame({"median_house_value": [1], "rooms": [2]})
    with pytest.raises(DataError) as caught:
        find_column(table, "median_house_valu")
    assert str(caught.value) == (
        "no column named 'median_house_valu' · did you mean 'median_house_value'?"
    )


@pytest.mark.parametrize("position", ["0", "3", -3])
def test_a_position_outside_the_table_is_refused(position):
    with pytest.raises(DataError, match=r"no column at position .* the table has 2"):
        find_column(pl.DataFrame({"a": [1], "b": [2]}), position)
