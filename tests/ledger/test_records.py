import json

from breakeven.ledger import records


def test_values_are_those_of_json_and_equal_strings_are_one():
    value = [
        {"name word": "an odd word", "n": [{"name word": 1.5, "x": None}]},
        {"name word": "an odd word"},
        "plain",
        3,
    ]
    read, again = records.loads(json.dumps(value)), records.loads(json.dumps(value).encode())
    assert read == again == value
    assert read[0]["name word"] is again[1]["name word"]
    assert next(iter(read[0])) is next(iter(read[0]["n"][0])) is next(iter(again[1]))
