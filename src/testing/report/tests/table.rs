use super::super::table::{Align, GREEN, RED, TextTable, colored};

#[test]
fn columns_are_as_wide_as_their_widest_cell_and_colours_add_no_width() {
    let mut table = TextTable::new([(4, Align::Left), (8, Align::Left), (0, Align::Right)]);
    table.title(["a title that is wider than columns"]);
    table.row(["name", "count", "verdict"]);
    table.row(["é", "7", &colored("ok", GREEN)]);
    table.row(["longer", &colored("1,234,567", RED), "bad"]);
    table.row(["short"]);
    let expected = "\
a title that is wider than columns
name   count      verdict
é      7               \u{1b}[32mok\u{1b}[0m
longer \u{1b}[31m1,234,567\u{1b}[0m      bad
short
";
    assert_eq!(table.to_string(), expected);
}

#[test]
fn markdown_has_a_head_a_rule_and_a_cell_for_each_column_of_each_row() {
    let mut table = TextTable::of_numbers(0, [0, 0]);
    table.row(["figure", "median", "m"]);
    table.row(["a", "12"]);
    let expected = "\
| figure | median |   m |
|--------|-------:|----:|
| a      |     12 |     |
";
    assert_eq!(table.markdown(), expected);
}
