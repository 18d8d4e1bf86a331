"""Random pydantic models, with random messages and what pydantic's strict mode says of them.

python3 pydantic_models.py SEED MODELS MESSAGES

Prints a line for each model: {"schema": its JSON Schema, "messages": [[text, whether it is valid], ...]}.
"""

import datetime
import enum
import json
import random
import sys
from typing import Annotated, Any, Literal, Optional, Union

import pydantic
from pydantic import ConfigDict, Field, create_model

seed, models, messages = (int(argument) for argument in sys.argv[1:4])
rng = random.Random(seed)

INTS = ["0", "1", "5", "-7", "10", "42", "99", "100", "123456789", "-9223372036854775808", "9223372036854775807"]
FLOATS = ["0.5", "-1.25", "3.0", "1e3", "12.5", "99.9", "100.0", "0.1", "1E-2"]
STRINGS = ['""', '"a"', '"abc"', '"on"', '"off"', '"ä€"', '"a\\"b"', '"\\u0041"', '"x y"', '"abcdefghijkl"']
TIMES = [
    '"2026-01-31T10:00:00Z"', '"2026-01-31T10:00:00"', '"2026-01-31T10:00:00.123456+02:00"', '"2026-02-30T10:00:00Z"',
    '"2026-01-31 10:00:00"', '"2026-01-31T24:00:00Z"', '"2026-01-31T10:00:60Z"', '"2026-01-31T10:61:00Z"', '"soon"',
]
DATES = ['"2026-01-31"', '"2026-02-30"', '"26-01-31"', '"2026-1-31"', '"0001-01-01"', '"9999-12-31"', '"x"']
CLOCKS = ['"10:00:00"', '"10:00"', '"10:00:00.5"', '"24:00:00"', '"10:61"', '"noon"']
OTHERS = ["null", "true", "false", "[]", "{}", "[1]", '{"a":1}'] + INTS[:4] + FLOATS[:3] + STRINGS[:4]


class Color(str, enum.Enum):
    red = "red"
    green = "green"


def scalar():
    """A type, and texts of JSON that it mostly takes."""
    low, high = sorted(rng.sample(range(-10, 120), 2))
    return rng.choice(
        [
            (int, INTS),
            (float, FLOATS + INTS[:6]),
            (bool, ["true", "false"]),
            (str, STRINGS),
            (Annotated[int, Field(ge=low, le=high)], INTS),
            (Annotated[int, Field(gt=low, lt=high)], INTS),
            (Annotated[int, Field(multiple_of=5)], INTS),
            (Annotated[float, Field(ge=low, lt=high + 0.5)], FLOATS + INTS[:6]),
            (Annotated[str, Field(min_length=1, max_length=3)], STRINGS),
            (Annotated[str, Field(pattern="^[a-c]+$")], STRINGS),
            (Literal["on", "off"], ['"on"', '"off"', '"x"']),
            (Literal["only"], ['"only"', '"x"']),
            (Color, ['"red"', '"green"', '"blue"']),
            (datetime.datetime, TIMES),
            (datetime.date, DATES),
            (datetime.time, CLOCKS),
            (Any, OTHERS),
        ]
    )


def union():
    kinds = rng.sample([(int, INTS), (float, FLOATS), (bool, ["true", "false"]), (str, STRINGS)], rng.choice([2, 2, 3]))
    return Union[tuple(kind for kind, _ in kinds)], sum((texts for _, texts in kinds), [])


def a_list():
    kind, texts = scalar()
    while kind is Any or kind in (datetime.datetime, datetime.date, datetime.time):
        kind, texts = scalar()
    least = rng.choice([None, 1])
    most = rng.choice([None, 2])
    return Annotated[list[kind], Field(min_length=least, max_length=most)], ("list", texts)


def kind_of_field(depth):
    chance = rng.random()
    if chance < 0.55:
        return scalar()
    if chance < 0.65:
        return union()
    if chance < 0.75:
        return a_list()
    if depth < 2:
        return model(depth + 1)
    return scalar()


def model(depth):
    """A model, and how its messages look: {key: (texts or shape, whether it may be left out)}."""
    fields, shape = {}, {}
    for number in range(rng.randint(1, 5)):
        key = rng.choice(["value", "temp", "state", "unit", "x"]) + str(number)
        kind, texts = kind_of_field(depth)
        chance = rng.random()
        if chance < 0.15:
            fields[key] = (Optional[kind], ...)
            shape[key] = (texts, False, True)
        elif chance < 0.3:
            fields[key] = (Optional[kind], None)
            shape[key] = (texts, True, True)
        else:
            fields[key] = (kind, ...)
            shape[key] = (texts, False, False)
    extra = rng.choice(["ignore", "ignore", "forbid"])
    made = create_model(f"Model{rng.randrange(10**9)}", __config__=ConfigDict(extra=extra), **fields)
    return made, shape


def with_kinds():
    """A model with a discriminated union."""
    shapes, made = [], []
    for tag in ["cat", "dog", "fish"][: rng.choice([2, 3])]:
        base, shape = model(1)
        made.append(create_model(f"Kind{rng.randrange(10**9)}", __base__=base, kind=(Literal[tag], ...)))
        shapes.append({**shape, "kind": ([f'"{tag}"'], False, False)})
    kinds = Annotated[Union[tuple(made)], Field(discriminator="kind")]
    if rng.random() < 0.5:
        return pydantic.RootModel[kinds], ("kinds", shapes)
    base, shape = model(1)
    return create_model("Outer", __base__=base, pet=(kinds, ...)), {**shape, "pet": (("kinds", shapes), False, False)}


def message(shape):
    if isinstance(shape, tuple) and shape[0] == "list":
        return "[" + ",".join(rng.choice(shape[1]) for _ in range(rng.randint(0, 3))) + "]"
    if isinstance(shape, tuple):
        return message(rng.choice(shape[1]))
    if isinstance(shape, list):
        # Mostly one of the first, so that messages of many fields are valid now and then.
        return rng.choice(shape if rng.random() < 0.3 else shape[: len(shape) // 2 + 1])
    members = []
    for key, (texts, may_miss, may_be_null) in shape.items():
        if rng.random() < (0.3 if may_miss else 0.01):
            continue
        if may_be_null and rng.random() < 0.2:
            value = "null"
        elif rng.random() < 0.05:
            value = rng.choice(OTHERS)
        else:
            value = message(texts)
        members.append(f'"{key}":{value}')
    if rng.random() < 0.05:
        members.append('"more":1')
    rng.shuffle(members)
    return "{" + ",".join(members) + "}"


for _ in range(models):
    made, shape = with_kinds() if rng.random() < 0.2 else model(0)
    sent = []
    for _ in range(messages):
        text = message(shape)
        try:
            made.model_validate_json(text, strict=True)
            sent.append([text, True])
        except pydantic.ValidationError:
            sent.append([text, False])
    print(json.dumps({"schema": made.model_json_schema(), "messages": sent}))
